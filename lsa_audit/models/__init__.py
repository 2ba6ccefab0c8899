"""Turns a name, a file or a module in memory into one eval-mode Model from pixels in [0, 1] to logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ModelError, UsageError
from . import builtin, factory, pickled, timm
from .base import Model, PixelModel, Preprocessing, describe
from .files import SUFFIXES, FileKind, mismatch, sniff
from .fitting import fit
from .hub_config import FOLDER_PREFIX, with_config, without_folder
from .module import from_module
from .request import ModelRequest
from .sidecar import with_sidecar

__all__ = [
    "FILE_LOADERS",
    "LOADERS",
    "Model",
    "ModelRequest",
    "PixelModel",
    "Preprocessing",
    "describe",
    "fit",
    "from_module",
    "from_program",
    "from_script",
    "is_named",
    "load",
]

LOADERS: dict[str, Callable[[ModelRequest], Model]] = {
    "builtin": builtin.load,
    "timm": timm.load,
    "factory": factory.load,
}


# The loaders of files are imported when one is met: the onnx package alone takes a good part of a second.
def _torchscript(request: ModelRequest) -> Model:
    from . import torchscript

    return torchscript.load(request)


def _exported(request: ModelRequest) -> Model:
    from . import exported

    return exported.load(request)


def _onnx(request: ModelRequest) -> Model:
    from . import onnx

    return onnx.load(request)


def _checkpoint(request: ModelRequest) -> Model:
    """A file of weights, loaded into the architecture that the user or the sidecar names."""
    if request.checkpoint is not None:
        raise UsageError(f"{request.spec} is a checkpoint, and --checkpoint names another", "give one of them")
    if request.arch is None:
        return pickled.load(request)
    loader = _by_name(request.arch)
    if loader is None:
        raise UsageError(f"--arch {request.arch} is a file, not an architecture", "give a timm name or FILE.py:FACTORY")
    return LOADERS[loader](replace(request, spec=request.arch, checkpoint=Path(request.spec)))


def from_script(module: Any, request: ModelRequest) -> Model:
    """A TorchScript module in memory; see `torchscript.memory.from_script`."""
    from .torchscript import memory

    return memory.from_script(module, request)


def from_program(program: Any, request: ModelRequest) -> Model:
    """An ExportedProgram in memory; see `exported.memory.from_program`."""
    from .exported import memory

    return memory.from_program(program, request)


FILE_LOADERS: dict[FileKind, Callable[[ModelRequest], Model]] = {
    "torchscript": _torchscript,
    "lite": _torchscript,
    "exported": _exported,
    "onnx": _onnx,
    "checkpoint": _checkpoint,
    "safetensors": _checkpoint,
    "sharded": _checkpoint,
}
WEIGHTS: tuple[FileKind, ...] = ("checkpoint", "safetensors", "sharded")
"""Kinds that hold weights alone, or a pickled module."""


def load(request: ModelRequest) -> Model:
    """The model that the request names, with the weights and the normalisation that it asks for.

    Raises:
        UsageError: contradicting options, or a wrong mean, std or input size.
        ModelError: no such model, or it cannot be built or loaded.
        UnsafeError: a file carries code that is not on the allow-list, or is an oversized or malformed archive.
    """
    request = without_folder(request)
    if request.checkpoint is not None and request.random_weights:
        raise UsageError("--checkpoint and --random-weights contradict each other", "give one of them")
    loader = _by_name(request.spec)
    if loader is None:
        return _load_file(request)
    if request.arch is not None:
        raise UsageError(f"--arch goes with a checkpoint file, and {request.spec} is none", "leave --arch out")
    if request.checkpoint is not None:
        request = replace(with_config(request, request.checkpoint), arch=None)
    return LOADERS[loader](request)


def is_named(spec: str) -> bool:
    """Whether this names a network, and no file that holds one.

    Raises:
        ModelError: neither.
    """
    return _by_name(spec) is not None


def _load_file(request: ModelRequest) -> Model:
    path = Path(request.spec)
    kind = sniff(path, request.limits)
    request = with_config(with_sidecar(request), path)
    if kind not in WEIGHTS and request.arch is not None and "arch" not in request.origins:
        raise UsageError(f"--arch goes with a checkpoint, and {path.name} carries its own graph", "leave --arch out")
    if request.random_weights:
        raise UsageError(f"--random-weights contradicts the weights in {path.name}", "leave it out")
    model = FILE_LOADERS[kind](request)
    note = mismatch(path, kind)
    return model if note is None else replace(model, notes=(*model.notes, note))


def _by_name(spec: str) -> str | None:
    """Who loads this, a key of LOADERS; None for a file."""
    if spec in builtin.BUILTINS:
        return "builtin"
    if spec.startswith(FOLDER_PREFIX):
        return None
    if spec.startswith((*timm.HUB_PREFIXES, timm.OWN_PREFIX)):
        return "timm"
    path = Path(spec)
    if spec and _exists(path) and path.suffix != ".py" and not timm.is_registered(spec):
        return None
    if ":" in spec:
        return "factory"
    if path.suffix == ".py":
        missing = "" if path.is_file() else " (and there is no such file)"
        raise ModelError(f"{spec} names no factory{missing}", f"write {spec}:FACTORY")
    if path.suffix.lower() in SUFFIXES:
        raise ModelError(f"there is no file {spec}", "check the path")
    if len(path.parts) > 1:
        raise ModelError(f"{spec} is neither a model name nor a file", "write a timm name or FILE.py:FACTORY")
    return "timm"


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):
        return path.is_symlink()
    return True
