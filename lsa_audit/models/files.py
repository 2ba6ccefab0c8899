"""Tells what a model file is by what stands in it, never by its name."""

from __future__ import annotations

import contextlib
import json
import os
import re
from io import BufferedReader
from pathlib import Path
from typing import Literal

import torch

from ..errors import ModelError
from ..settings.limits import Limits
from .archives import Archive, check, opened

FileKind = Literal["torchscript", "lite", "exported", "checkpoint", "safetensors", "sharded", "onnx"]

TORCH_FLOOR = (2, 10)
"""Older releases of torch unpickle with known holes."""

HEAD_BYTES = 4096
SAFETENSORS_HEADER = 2**40
JSON_BYTES = 64 * 2**20
CONFIG_KEYS = {"architecture", "architectures", "pretrained_cfg", "model_type"}
SHOWN = 4

NAMES: dict[FileKind, str] = {
    "torchscript": "a TorchScript archive",
    "lite": "a TorchScript archive for the lite interpreter",
    "exported": "a torch.export program",
    "checkpoint": "a torch checkpoint",
    "safetensors": "a safetensors file",
    "sharded": "an index of weights in several files",
    "onnx": "an ONNX model",
}

# Kinds that a suffix may stand for. What torch writes goes by any of the old suffixes.
TORCH: tuple[FileKind, ...] = ("checkpoint", "torchscript", "lite", "exported")
SUFFIXES: dict[str, tuple[FileKind, ...]] = {
    ".onnx": ("onnx",),
    ".safetensors": ("safetensors",),
    ".pt2": ("exported",),
    ".ptl": ("lite", "torchscript"),
    ".pts": ("torchscript", "lite"),
    ".torchscript": ("torchscript", "lite"),
    ".ckpt": ("checkpoint",),
    **dict.fromkeys((".pt", ".pth", ".th", ".bin", ".model", ".pkl", ".pickle"), TORCH),
}

# Files that are given for models by mistake: first bytes, what it is, what to do.
STRANGERS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a git-lfs pointer, not the model itself", "run: git lfs pull"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it", "export the model to ONNX"),
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"BZh", "a bzip2 file", "unpack it first"),
    (b"\xfd7zXZ\x00", "an xz file", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"\x93NUMPY", "a NumPy array, not a model", "give images with --data"),
    (b"GGUF", "a GGUF language model", "only image classifiers can be audited"),
    (b"\x7fELF", "a compiled program or library", "give the model before compilation"),
    (b"\x89PNG", "a picture, not a model", "check the path"),
    (b"\xff\xd8\xff", "a picture, not a model", "check the path"),
    (b"%PDF", "a PDF document", "check the path"),
)
WEB_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype|html|head|body|\?xml)", re.IGNORECASE | re.DOTALL)

# Fields of ONNX's ModelProto: number -> wire type.
ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
IR_VERSION, GRAPH = 1, 7
BYTES = 2


def sniff(path: Path, limits: Limits | None = None) -> FileKind:
    """What kind of model file this is.

    Args:
        limits: of archives; None: the defaults.

    Raises:
        ModelError: missing, unreadable, a folder, a pipe or a device, empty, or no model file (it says what it is).
        UnsafeError: an archive that is malformed or above the limits.
    """
    require_recent_torch()
    # What cannot even be looked at is reported by `opened`.
    with contextlib.suppress(OSError):
        if path.is_dir():
            raise _folder(path)
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HEAD_BYTES)
    if not head:
        raise ModelError(f"{path.name} is empty", "copy or download it again")
    # First, because the length of its header, with which it begins, may look like the beginning of anything else.
    if is_safetensors(head):
        return "safetensors"
    if head.startswith(b"PK"):
        return _zip_kind(check(path, limits or Limits()))
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return "checkpoint"
    if head.lstrip()[:1] == b"{":
        return _json_kind(path, size)
    if _is_onnx(path, size):
        return "onnx"
    raise _stranger(path, head)


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so is one of safetensors: the length of its header, then the header, which is JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < SAFETENSORS_HEADER


def mismatch(path: Path, kind: FileKind) -> str | None:
    """One sentence where the suffix says something else than the content, else None."""
    claimed = SUFFIXES.get(path.suffix.lower())
    if claimed is None or kind in claimed:
        return None
    return f"{path.name} is {NAMES[kind]}, although its name ends in {path.suffix}"


def require_recent_torch() -> None:
    """Stop before anything is loaded by a torch with known holes.

    Raises:
        ModelError: the torch that is installed is older than TORCH_FLOOR.
    """
    release = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if release < TORCH_FLOOR:
        wanted = ".".join(map(str, TORCH_FLOOR))
        raise ModelError(f"torch {torch.__version__} cannot load files safely", f"pip install 'torch>={wanted}'")


def _folder(path: Path) -> ModelError:
    found = sorted(entry.name for entry in path.iterdir() if entry.suffix.lower() in SUFFIXES)
    if len(found) == 1:
        return ModelError(f"{path} is a folder", f"give {path / found[0]}")
    rest = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    inside = f" (it holds {', '.join(found[:SHOWN])}{rest})" if found else ""
    return ModelError(f"{path} is a folder{inside}", "give the model file inside it")


def _json_kind(path: Path, size: int) -> FileKind:
    """The index of weights in several files; every other JSON is no model."""
    content = None
    if size <= JSON_BYTES:
        with opened(path) as file, contextlib.suppress(ValueError, RecursionError):
            content = json.loads(file.read(JSON_BYTES + 1))
    if isinstance(content, dict) and isinstance(content.get("weight_map"), dict):
        return "sharded"
    if isinstance(content, dict) and CONFIG_KEYS & content.keys():
        hint = f"give the folder, {path.parent}, or the weights file in it"
        raise ModelError(f"{path.name} describes a model and holds no weights", hint)
    raise ModelError(f"{path.name} is text, not a model", "check the path")


def _zip_kind(archive: Archive) -> FileKind:
    names = archive.sizes
    if "archive_format" in names or "serialized_exported_program.json" in names:
        return "exported"
    if any(name.startswith("models/") and name.endswith(".json") for name in names):
        return "exported"
    if any(name.startswith("code/") for name in names):
        return "torchscript"
    if "bytecode.pkl" in names:
        return "lite"
    if ".data/extern_modules" in names:
        raise ModelError(f"{archive.path.name} is a torch.package archive", "save the model's state_dict() instead")
    if "data.pkl" in names:
        return "checkpoint"
    what, hint = "a zip archive, but not one of a model: it has no data.pkl", "check the path"
    if any(name.startswith("MAR-INF/") for name in archive.names):
        what, hint = "a TorchServe archive", "unzip it and give the model file inside"
    elif all(name.endswith(".npy") for name in names):
        what, hint = "an archive of NumPy arrays, not a model", "give it with --data"
    elif "model.weights.h5" in names:
        what, hint = "a Keras model", "export it to ONNX"
    raise ModelError(f"{archive.path.name} is {what}", hint)


def _is_onnx(path: Path, size: int) -> bool:
    """Whether the top level of the file reads as an ONNX model; one whose end is cut off still counts."""
    seen: set[int] = set()
    with opened(path) as file:
        while file.tell() < size and not {IR_VERSION, GRAPH} <= seen:
            field, wire = divmod(_varint(file), 8)
            if ONNX_FIELDS.get(field) != wire:
                return False
            length = _varint(file)
            if wire == BYTES:
                file.seek(min(length, size), os.SEEK_CUR)
            seen.add(field)
    return IR_VERSION in seen


def _varint(file: BufferedReader) -> int:
    """The next variable-length number of a protobuf; 0, which is no field, where there is none."""
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            return 0
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return 0


def _stranger(path: Path, head: bytes) -> ModelError:
    for magic, what, hint in STRANGERS:
        if head.startswith(magic):
            return ModelError(f"{path.name} is {what}", hint)
    if head[4:8] == b"TFL3":
        return ModelError(f"{path.name} is a TFLite model", "export the model to ONNX")
    if head[4:8] == b"ORTM":
        return ModelError(f"{path.name} is a model in onnxruntime's own format", "give the ONNX file it was made from")
    if head[257:262] == b"ustar":
        return ModelError(f"{path.name} is a tar archive", "unpack it; for torch's oldest format, save it anew")
    if WEB_PAGE.match(head):
        return ModelError(f"{path.name} is a web page, not a model", "download the file itself")
    if _is_text(head):
        return ModelError(f"{path.name} is text, not a model", "check the path")
    known = "TorchScript, torch.export, ONNX, safetensors or a torch checkpoint"
    return ModelError(f"{path.name} is not a model file, or damaged", f"it may be {known}")


def _is_text(head: bytes) -> bool:
    try:
        # The head may end in the middle of a character.
        text = head.decode("utf-8") if len(head) < HEAD_BYTES else head[:-4].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)
