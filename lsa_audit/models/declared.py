"""Holds the tensors that a checkpoint declares against the bytes that it really has."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch

from ..errors import UnsafeError
from ..settings.limits import Limits
from .archives import DAMAGED_HINT, LIMIT_HINT, UNSAFE_HINT
from .pickles import Contents, Global, PickledCall, Storage

EXPANDED_BYTES = 16 * 2**20
"""A tensor may repeat the elements of its storage (a stride of 0) up to this size."""

TENSORS = re.compile(r"torch\._utils\._rebuild_(tensor(_v2|_v3)?|qtensor)")
DTYPES = re.compile(r"[<>=|]?(b1|[iufc]\d{1,2}|[?bhilqpBHILQPefdgFDG])")
ITEM_BYTES = {
    **dict.fromkeys(("Byte", "Char", "Bool", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4", "Untyped"), 1),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}


def check_declared(contents: Contents, path: Path, limits: Limits) -> None:
    """Every storage lies in the file and every tensor in its storage, and together they keep to the limits.

    Raises:
        UnsafeError: a size that the file does not back, or above the limits.
    """
    _check_storages(contents, path)
    total = 0
    for call in contents.calls:
        if TENSORS.fullmatch(call.name):
            total += _checked_tensor(call, path)
        elif call.name == "numpy.dtype" and not DTYPES.fullmatch(str(call.arguments[0] if call.arguments else "")):
            raise UnsafeError(f"{path.name} holds a NumPy value that is not a number", UNSAFE_HINT)
    if total > limits.total_bytes:
        what = f"{path.name} is above the limits: tensors of {total} bytes, {limits.total_bytes} are allowed"
        raise UnsafeError(what, LIMIT_HINT)


def _check_storages(contents: Contents, path: Path) -> None:
    claimed: dict[str, int] = {}
    for storage in contents.storages:
        size = _bytes(storage, path)
        if not isinstance(storage.key, str) or claimed.setdefault(storage.key, size) != size:
            raise _lie(path, f"describes storage {storage.key} in two ways")
    if contents.archive is None:
        if sum(claimed.values()) > path.stat().st_size:
            raise _lie(path, f"claims tensors of {sum(claimed.values())} bytes, more than the whole file has")
        return
    for key, claim in claimed.items():
        there = contents.archive.sizes.get(f"data/{key}")
        if there is None:
            raise _lie(path, f"lacks the member data/{key}")
        if claim > there:
            raise _lie(path, f"claims {claim} bytes in data/{key}, which has {there}")


def _checked_tensor(call: PickledCall, path: Path) -> int:
    """Bytes of the tensor once all its elements stand one after the other."""
    if len(call.arguments) < 4 or not isinstance(call.arguments[0], Storage):
        raise _lie(path, "holds a tensor without a storage")
    storage, offset, size, stride = call.arguments[:4]
    numbers = (offset, *size, *stride) if isinstance(size, tuple) and isinstance(stride, tuple) else (None,)
    if any(type(number) is not int or number < 0 for number in numbers) or len(size) != len(stride):
        raise _lie(path, "holds a tensor of a size that is no number")
    item = _bytes(Storage(storage.kind, "", 1), path)
    if call.name.endswith("_v3"):
        item = _item_bytes(call.arguments[6] if len(call.arguments) > 6 else None, path)
    needed, there = int(math.prod(size)) * item, _bytes(storage, path)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1
    if needed and last * item > there:
        raise _lie(path, f"holds a tensor {tuple(size)} that reaches beyond its storage of {there} bytes")
    if needed > max(there, EXPANDED_BYTES):
        raise _lie(path, f"holds a tensor {tuple(size)} of {needed} bytes in a storage of {there}")
    return needed


def _bytes(storage: Storage, path: Path) -> int:
    item = ITEM_BYTES.get(storage.kind.rpartition(".")[2].removesuffix("Storage"))
    if item is None or type(storage.count) is not int or storage.count < 0:
        raise _lie(path, f"holds a storage of an unknown kind or size ({storage.kind})")
    return item * storage.count


def _item_bytes(element: Any, path: Path) -> int:
    dtype = getattr(torch, element.name.rpartition(".")[2], None) if isinstance(element, Global) else None
    if not isinstance(dtype, torch.dtype):
        raise _lie(path, "holds a tensor of an unknown element type")
    return dtype.itemsize


def _lie(path: Path, what: str) -> UnsafeError:
    return UnsafeError(f"{path.name} {what}", DAMAGED_HINT)
