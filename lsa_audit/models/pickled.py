"""A checkpoint file given as the model itself: a pickled nn.Module, which is code and loads only if trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import ModelError
from .archives import sha256
from .assembly import Built, assemble
from .base import Model
from .checkpoint import WRAPPERS, unpickle
from .files import sniff
from .preprocessing import of_module
from .request import ModelRequest
from .restoring import said_architecture
from .weight_sets import EMA
from .widening import in_float32


def load(request: ModelRequest) -> Model:
    """The nn.Module in a pickle, bare or under one of the names that training scripts use.

    Raises:
        UnsafeError: the pickle calls for code, and neither --allow-code nor its SHA-256 among the trusted ones lets it
            run; or a malformed archive, or sizes that are false or above the limits.
        ModelError: the file holds weights alone, or cannot be read.
    """
    path = Path(request.spec)
    if sniff(path, request.limits) in ("safetensors", "sharded"):
        raise _needs_arch(path, None)
    payload = unpickle(path, request.limits, request.trusts(sha256(path)))
    network = module_in(payload, request.weights)
    if network is None:
        raise _needs_arch(path, said_architecture(payload))
    request = replace(request, weights=None)
    built = Built(
        network=network,
        name=path.name,
        architecture=type(network).__name__,
        weights=f"pickled with the network in {path.name}",
        metadata=of_module(network),
        notes=("the network was unpickled: code that the file names was run",),
        finish=in_float32,
    )
    return assemble(request, "module", built)


def module_in(payload: Any, wanted: str | None = None) -> nn.Module | None:
    """The module that a pickle holds, bare or under one of the names that training scripts use.

    Args:
        wanted: `ema`, `raw` or a name, where there are several; None: an averaged one (EMA) before others.
    """
    if isinstance(payload, Mapping):
        held = [key for key, value in payload.items() if isinstance(key, str) and isinstance(value, nn.Module)]
        averaged = [key for key in held if EMA.fullmatch(key)]
        if wanted not in (None, "ema", "raw"):
            keys = [key for key in held if key == wanted]
        elif wanted == "ema" or (wanted is None and averaged):
            keys = averaged
        else:
            keys = [key for key in WRAPPERS if key in held]
        payload = payload[keys[0]] if keys else None
    return payload if isinstance(payload, nn.Module) else None


def _needs_arch(path: Path, said: str | None) -> ModelError:
    noted = f" (the file notes {said!a})" if said else ""
    hint = "name it with --arch: a timm name or FILE.py:FACTORY"
    return ModelError(f"{path.name} holds weights, not the network they are for{noted}", hint)
