"""What the caller asks of a model: which one, with which weights, and how its input is normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ModelRequest:
    """One model as asked for, before anything is loaded.

    Attributes:
        spec: a built-in name, a timm name (also `hf_hub:...`, `hf-hub:...`, `timm/...`), `path/to/file.py:factory`
            or `package.module:factory`.
        checkpoint: a state dict to load over what the loader builds (.safetensors, or a pickled state dict).
        random_weights: keep the weights of a seeded initialisation and download nothing.
        seed: of the initialisation.
        mean, std: per channel or one number for all, on pixels in [0, 1]; None takes the model's own.
        input_shape: (C, H, W) or (F,); None takes the model's own.
        arguments: passed to `timm.create_model` or to the factory.
    """

    spec: str
    checkpoint: Path | None = None
    random_weights: bool = False
    seed: int = 0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_shape: tuple[int, ...] | None = None
    arguments: Mapping[str, str | int | float | bool] = field(default_factory=dict)
