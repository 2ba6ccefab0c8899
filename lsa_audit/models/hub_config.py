"""A `config.json` beside the weights, as timm and its models on the Hugging Face hub keep it: architecture,
arguments and preprocessing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ModelError
from . import timm
from .archives import opened
from .files import SUFFIXES
from .preprocessing import from_config
from .request import ModelRequest
from .sharded import SUFFIX as INDEX_SUFFIX
from .sidecar import completed, crop_mode, interpolation, plain_arguments, share

NAME = "config.json"
FOLDER_PREFIX = "local-dir:"
"""As timm writes a folder."""

RESERVED = (*timm.RESERVED, "cache_dir", "features_only")
CONFIG_BYTES = 16 * 2**20
STANDARD = tuple(
    f"{stem}{suffix}"
    for stem, suffixes in (
        ("model", (".safetensors", ".safetensors.index.json")),
        ("pytorch_model", (".bin", ".bin.index.json", ".pth")),
        ("model", (".pth",)),
    )
    for suffix in suffixes
)
"""Names of weights files in such a folder, in the order in which they are taken."""

ARCH_HINT = "name the architecture with --arch"


def weights_in(spec: str) -> Path | None:
    """The weights file of a folder that is given as the model; None where it is no such folder.

    Raises:
        ModelError: no weights in it, or several files and none with a usual name.
    """
    folder = Path(spec.removeprefix(FOLDER_PREFIX))
    try:
        is_folder, described = folder.is_dir(), (folder / NAME).is_file()
    except (OSError, ValueError):
        return None
    if not is_folder:
        if spec.startswith(FOLDER_PREFIX):
            raise ModelError(f"{spec}: there is no folder {str(folder)[:200]!a}", "check the path")
        return None
    usual = [folder / name for name in STANDARD if (folder / name).is_file()]
    files = _model_files(folder)
    found = usual[:1] or [path for path in files if path.name.endswith(INDEX_SUFFIX)] or files
    if len(found) == 1 and (described or usual or spec.startswith(FOLDER_PREFIX)):
        return found[0]
    if not described and not spec.startswith(FOLDER_PREFIX):
        return None
    if not found:
        raise ModelError(f"{folder} holds a {NAME} and no weights", f"put {STANDARD[0]} or {STANDARD[2]} beside it")
    listed = ", ".join(path.name for path in found[:4])
    raise ModelError(f"{folder} holds several model files ({listed})", "give the one that is meant")


def with_config(request: ModelRequest, weights: Path) -> ModelRequest:
    """The request, completed by the `config.json` beside a weights file; the command line and a sidecar go before it.

    It counts for a file with a usual name (`model.safetensors`, `pytorch_model.bin` ...) or the only model file in the
    folder. Architectures are names of timm's registry, arguments plain values: the file is data from a stranger.

    Args:
        request: with `arch`, or with a name and `checkpoint`, where the user says what the weights are for.
        weights: their file.

    Raises:
        ModelError: a damaged file, or an architecture, argument or preprocessing that cannot be used.
    """
    path = weights.parent / NAME
    if not path.is_file() or not (weights.name in STANDARD or _model_files(weights.parent) == [weights]):
        return request
    config = _read(path)
    said = config.get("architecture")
    if not isinstance(said, str):
        if request.arch is None and request.checkpoint is None and "model_type" in config:
            kind = (config.get("architectures") or [config["model_type"]])[0]
            what = f"{NAME} beside {weights.name} describes {str(kind)[:60]!a} of the library transformers"
            raise ModelError(what, "give a factory that builds it: --arch FILE.py:FACTORY")
        return request
    asked = request.arch or (request.spec if request.checkpoint is not None else None)
    named = asked is not None and ":" not in asked
    if named and _plain(str(asked)) != _plain(said):
        return request
    if not timm.is_registered(said):
        if asked is not None:
            return request
        raise ModelError(f"{NAME} names the architecture {said[:60]!a}, which timm does not have", ARCH_HINT)
    found = _found(config, said, path)
    if "img_size" in request.arguments:
        found.pop("input_shape", None)
    return completed(request, found, f"{NAME} beside the weights")


def _found(config: Mapping[str, Any], architecture: str, path: Path) -> dict[str, Any]:
    """Fields of a request and their values."""
    inner = config.get("pretrained_cfg", config)
    if not isinstance(inner, Mapping):
        raise _bad(path, "pretrained_cfg")
    metadata = from_config(inner, str(path.name))
    found: dict[str, Any] = {"arch": _plain(architecture)}
    try:
        found["arguments"] = _arguments(config, inner)
    except (TypeError, ValueError):
        raise _bad(path, "model_args") from None
    found |= {"mean": metadata.mean, "std": metadata.std} if inner.get("mean") and inner.get("std") else {}
    if inner.get("input_size"):
        found["input_shape"] = metadata.input_shape
    readers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "crop_pct": ("crop_share", share),
        "interpolation": ("interpolation", interpolation),
        "crop_mode": ("crop_mode", crop_mode),
    }
    for key, (field, reader) in readers.items():
        if inner.get(key):
            try:
                found[field] = reader(inner[key])
            except (TypeError, ValueError):
                raise _bad(path, key) from None
    return found


def _arguments(config: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """For timm's factory: those of the file, the class count, and the size of a network of one size."""
    arguments = plain_arguments(config.get("model_args") or {})
    if reserved := [name for name in arguments if name in RESERVED]:
        raise ValueError(reserved[0])
    classes = config.get("num_classes", inner.get("num_classes"))
    if classes is not None:
        arguments.setdefault("num_classes", plain_arguments({"num_classes": classes})["num_classes"])
    size = inner.get("input_size")
    if inner.get("fixed_input_size") is True and isinstance(size, list) and len(size) == 3:
        arguments.setdefault("img_size", plain_arguments({"img_size": size[1:]})["img_size"])
    return arguments


def _read(path: Path) -> dict[str, Any]:
    with opened(path) as file:
        content = file.read(CONFIG_BYTES + 1)
    try:
        if len(content) > CONFIG_BYTES:
            raise ValueError
        config = json.loads(content)
    except (ValueError, RecursionError):
        raise ModelError(f"{path} is not JSON that can be read", "repair it, or move it away") from None
    return config if isinstance(config, dict) else {}


def _model_files(folder: Path) -> list[Path]:
    """The files in a folder whose names are those of models."""
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in found if path.suffix.lower() in SUFFIXES or path.name.endswith(INDEX_SUFFIX)]


def _plain(name: str) -> str:
    """The architecture without a tag of weights."""
    return name.removeprefix(timm.OWN_PREFIX).partition(".")[0]


def _bad(path: Path, key: str) -> ModelError:
    return ModelError(f"{path.name} beside the weights holds a {key} that is not understood", "correct it or remove it")


def without_folder(request: ModelRequest) -> ModelRequest:
    """The request with the weights file in the place of its folder."""
    weights = weights_in(request.spec)
    return request if weights is None else replace(request, spec=str(weights))
