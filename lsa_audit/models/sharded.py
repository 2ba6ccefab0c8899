"""Weights in several files, as large models are kept: an index (`model.safetensors.index.json`) and its shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError, UnsafeError
from ..settings.limits import Limits
from .archives import DAMAGED_HINT, LIMIT_HINT, UNSAFE_HINT, opened, sha256
from .files import JSON_BYTES

SUFFIX = ".index.json"
HUB_FOLDER = "models--"
"""A hub cache keeps `models--NAME/snapshots/REVISION/FILE` as links into `models--NAME/blobs`."""


def read(path: Path, limits: Limits, read_one: Callable[[Path], Mapping[str, Any]]) -> tuple[dict[str, Any], str]:
    """All tensors by name, and a SHA-256 over those of the index and of its shards.

    Args:
        path: the index; the shards must lie beside it.
        read_one: the tensors of one shard.

    Raises:
        UnsafeError: a shard outside the folder of the index, or together above the limits.
        ModelError: the index is damaged, a shard is missing, or a shard lacks a tensor that the index places in it.
    """
    places = _weight_map(path)
    files = {shard: _beside(shard, path) for shard in sorted(set(places.values()))}
    if len(files) > limits.members or sum(file.stat().st_size for file in files.values()) > limits.total_bytes:
        what = f"{path.name} is above the limits: its {len(files)} files hold more than {limits.total_bytes} bytes"
        raise UnsafeError(what, LIMIT_HINT)
    digest = hashlib.sha256(sha256(path).encode())
    tensors: dict[str, Any] = {}
    for shard, file in files.items():
        digest.update(f"{shard} {sha256(file)}\n".encode())
        held = read_one(file)
        wanted = [name for name, place in places.items() if place == shard]
        missing = [name for name in wanted if name not in held]
        if missing:
            raise ModelError(f"{shard} lacks {missing[0][:80]!a}, which {path.name} places in it", DAMAGED_HINT)
        strangers = [name for name in held if name not in places]
        if strangers:
            raise ModelError(f"{shard} holds {strangers[0][:80]!a}, which {path.name} does not list", DAMAGED_HINT)
        tensors |= {name: held[name] for name in wanted}
    return tensors, digest.hexdigest()


def _weight_map(path: Path) -> dict[str, str]:
    """The file of each tensor, by the tensor's name."""
    with opened(path) as file:
        content = file.read(JSON_BYTES + 1)
    try:
        places = json.loads(content)["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path.name} is damaged: it has no weight_map", DAMAGED_HINT) from error
    if not isinstance(places, dict) or not all(isinstance(shard, str) for shard in places.values()):
        raise ModelError(f"{path.name} is damaged: its weight_map names no files", DAMAGED_HINT)
    if not places:
        raise ModelError(f"{path.name} lists no weights", DAMAGED_HINT)
    return places


def _beside(shard: str, path: Path) -> Path:
    """The file of a shard, links followed; in the folder of the index, or in the hub cache folder of the same model."""
    if not shard.isprintable() or shard in ("", ".", "..") or any(sign in shard for sign in "/\\:"):
        raise UnsafeError(f"{path.name} asks for {shard[:80]!a}, which is no file beside it", UNSAFE_HINT)
    folder = path.absolute().parent
    try:
        home, file = folder.resolve(), (folder / shard).resolve()
        exists = file.is_file()
    except (OSError, RuntimeError, ValueError):
        raise ModelError(f"{path.name} needs {shard[:80]!a}, which cannot be read", DAMAGED_HINT) from None
    hub = next((parent for parent in (home, *home.parents) if parent.name.startswith(HUB_FOLDER)), home)
    if not (file.is_relative_to(home) or file.is_relative_to(hub)):
        raise UnsafeError(f"{path.name}: {shard[:80]!a} links to outside its folder", UNSAFE_HINT)
    if not exists:
        raise ModelError(f"{path.name} needs {shard[:80]!a}, which is missing", "put it beside the index")
    return file
