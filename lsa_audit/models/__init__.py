"""Turns a name, a file or a module in memory into one eval-mode Model from pixels in [0, 1] to logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import ModelError, UsageError
from . import builtin, factory, timm
from .base import Model, PixelModel, Preprocessing, describe, fit
from .module import from_module
from .request import ModelRequest

__all__ = [
    "LOADERS",
    "Model",
    "ModelRequest",
    "PixelModel",
    "Preprocessing",
    "describe",
    "fit",
    "from_module",
    "load",
]

LOADERS: dict[str, Callable[[ModelRequest], Model]] = {
    "builtin": builtin.load,
    "timm": timm.load,
    "factory": factory.load,
}

MODEL_FILES = (".bin", ".ckpt", ".model", ".onnx", ".pickle", ".pkl", ".pt", ".pt2", ".pth", ".safetensors", ".th")


def load(request: ModelRequest) -> Model:
    """The model that the request names, with the weights and the normalisation that it asks for.

    Raises:
        UsageError: contradicting options, or a wrong mean, std or input size.
        ModelError: no such model, or it cannot be built or loaded.
        UnsafeError: the checkpoint carries code.
    """
    if request.checkpoint is not None and request.random_weights:
        raise UsageError("--checkpoint and --random-weights contradict each other", "give one of them")
    return LOADERS[_loader(request.spec)](request)


def _loader(spec: str) -> str:
    if spec in builtin.BUILTINS:
        return "builtin"
    if spec.startswith((*timm.HUB_PREFIXES, timm.OWN_PREFIX)):
        return "timm"
    if ":" in spec:
        return "factory"
    path = Path(spec)
    if path.suffix == ".py":
        missing = "" if path.is_file() else " (and there is no such file)"
        raise ModelError(f"{spec} names no factory{missing}", f"write {spec}:FACTORY")
    if path.suffix in MODEL_FILES or (path.is_file() and not timm.is_registered(spec)):
        what = f"{spec} is a checkpoint file, not a model" if path.exists() else f"there is no file {spec}"
        raise ModelError(what, "a checkpoint goes with a timm name or FILE.py:FACTORY, as --checkpoint FILE")
    if len(path.parts) > 1:
        raise ModelError(f"{spec} is neither a model name nor a file", "write a timm name or FILE.py:FACTORY")
    return "timm"
