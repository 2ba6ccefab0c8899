"""What the caller asks of a model: which one, with which weights, and how its input is normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..records import ChannelOrder, InputLayout
from ..settings.limits import Limits


@dataclass(frozen=True)
class ModelRequest:
    """One model as asked for, before anything is loaded.

    Attributes:
        spec: a built-in name, a timm name (also `hf_hub:...`, `hf-hub:...`, `timm/...`), `path/to/file.py:factory`,
            `package.module:factory`, or a model file (TorchScript, torch.export, ONNX, or a checkpoint with `arch`).
        arch: what a checkpoint file given as `spec` is for: a timm name or a factory.
        checkpoint: a state dict to load over what the loader builds (.safetensors, or a pickled state dict).
        weights: which of several sets of weights in a checkpoint: `ema`, `raw` or a name; None: averaged ones (EMA)
            where there are some, as timm takes them.
        random_weights: keep the weights of a seeded initialisation and download nothing.
        seed: of the initialisation.
        mean, std: per channel or one number for all, on pixels in [0, 1]; None takes the model's own.
        input_shape: (C, H, W) or (F,); None takes the model's own.
        crop_share: share of the short side that evaluation keeps, in (0, 1]; None takes the model's own.
        interpolation: with which images are resized; None takes the model's own.
        crop_mode: timm's, `center` or `squash`; None takes the model's own.
        layout: how the network wants an image; None takes the file's own.
        channel_order: in which the network wants the channels; None is RGB.
        classes: that the model must have; None accepts what it has.
        logits: name, or index counted from 0, of the output that holds the logits; None finds it.
        outputs_are: `logits` or `probabilities`, where nothing else tells; None finds it.
        label_offset: added to the data's labels (1 for a model with a background class 0); None: 0.
        class_names: of the model, in its order, where a sidecar says them.
        limits: on the size of model files.
        allow_code: run operations and unpickle globals that are not on the allow-list.
        trusted: SHA-256 of files for which the same holds.
        origins: for fields that the user did not give, where their values came from, in words.
        arguments: passed to `timm.create_model` or to the factory.
    """

    spec: str
    checkpoint: Path | None = None
    arch: str | None = None
    weights: str | None = None
    random_weights: bool = False
    seed: int = 0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_shape: tuple[int, ...] | None = None
    crop_share: float | None = None
    interpolation: str | None = None
    crop_mode: str | None = None
    layout: InputLayout | None = None
    channel_order: ChannelOrder | None = None
    classes: int | None = None
    logits: str | None = None
    outputs_are: Literal["logits", "probabilities"] | None = None
    label_offset: int | None = None
    class_names: tuple[str, ...] | None = None
    limits: Limits = field(default_factory=Limits)
    allow_code: bool = False
    trusted: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def trusts(self, sha256: str) -> bool:
        """Whether code of the file with this digest may run."""
        return self.allow_code or sha256 in self.trusted

    def origin(self, name: str) -> str:
        """Where the value of a field came from, in words."""
        return self.origins.get(name, "given by the user")
