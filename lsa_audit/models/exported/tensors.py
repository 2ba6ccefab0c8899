"""Reads parameters, buffers and constants out of a .pt2 archive, in each of the forms that torch has written."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import AuditError, ModelError, UnsafeError
from ...settings.limits import Limits
from ..archives import Archive
from ..checkpoint import unpickle
from .arguments import DTYPES, EXPORT_HINT

DESCRIPTION_BYTES = 16 * 2**20
"""MaxViT with 403 layers takes 2.8 MB. Parsed, a description takes up to thirty times its size."""

OBJECTS = ("custom_obj", "opaque_obj")


@dataclass
class Members:
    """What tensors lie in, by the name of the member.

    Attributes:
        raw: bytes, which the tensors are views of.
        pickled: whatever the pickle holds, the tensors among it.
        copied: names of the tensors that are no views.
    """

    raw: dict[str, Tensor] = field(default_factory=dict)
    pickled: dict[str, Any] = field(default_factory=dict)
    copied: set[str] = field(default_factory=set)


def read_tensors(
    archive: Archive, model: str, limits: Limits, trusted: bool, members: Members | None = None
) -> dict[str, Tensor]:
    """All tensors of one program by their names in the original network, on the CPU.

    Args:
        model: name of the program in the archive; empty for archives that torch up to 2.7 wrote.
        trusted: whether a pickle among them may call for code.
        members: gets the members that were read.

    Raises:
        UnsafeError: a pickle that calls for code, or a tensor larger than its bytes or the limit.
        ModelError: weights are missing.
        KeyError, TypeError, ValueError: the description is malformed.
    """
    found: dict[str, Tensor] = {}
    declared = 0
    for name, tensor in _Reader(archive, limits, trusted, members or Members()).read(model):
        declared += tensor.numel() * tensor.element_size()
        if declared > limits.total_bytes:
            raise UnsafeError(f"its tensors claim more than {limits.total_bytes} bytes", "raise the limits")
        found[name] = tensor
    return found


@dataclass(frozen=True)
class _Reader:
    """Reads tensors with their names, one after the other."""

    archive: Archive
    limits: Limits
    trusted: bool
    members: Members

    def read(self, model: str) -> Iterator[tuple[str, Tensor]]:
        for kind, old in (("weights", "serialized_state_dict"), ("constants", "serialized_constants")):
            folder = f"data/{kind}/"
            described = f"{folder}{model}_{kind}_config.json"
            pickled = (f"{folder}{model}.pt", f"{old}.pt", f"{old}.json")
            member = next((name for name in pickled if name in self.archive.sizes), None)
            if described in self.archive.sizes:
                config = json.loads(self.archive.read(described, DESCRIPTION_BYTES))["config"]
                yield from self._described(folder, config)
            elif member is not None:
                tensors = dict(self._unpickled(member)).items()
                yield from ((str(name), value) for name, value in tensors if isinstance(value, Tensor))
            else:
                raise ModelError(f"{self.archive.path.name} lacks the {kind} of the program", EXPORT_HINT)

    def _described(self, folder: str, config: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
        # Tensors that share their bytes in the file share them here.
        stored = self.members.raw
        for name, entry in config.items():
            member = f"{folder}{entry['path_name']}"
            if entry["path_name"].startswith(OBJECTS):
                what = f"{self.archive.path.name} holds {name!a}, an object with code of its own"
                raise UnsafeError(what, EXPORT_HINT)
            if entry["use_pickle"]:
                yield name, self._unpickled(member)
                continue
            if member not in stored:
                content = bytearray(self.archive.read(member, self.limits.member_bytes))
                stored[member] = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0).byte()
            tensor = _raw(name, stored[member], entry["tensor_meta"], self.limits)
            if tensor.untyped_storage().data_ptr() != stored[member].untyped_storage().data_ptr():
                self.members.copied.add(name)
            yield name, tensor

    def _unpickled(self, member: str) -> Any:
        content = self.archive.read(member, self.limits.member_bytes)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tensors.pt"
            path.write_bytes(content)
            try:
                self.members.pickled[member] = unpickle(path, self.limits, self.trusted)
            except AuditError as error:
                raise type(error)(error.what.replace(str(path), member), EXPORT_HINT) from error
        return self.members.pickled[member]


def _raw(name: str, content: Tensor, described: Mapping[str, Any], limits: Limits) -> Tensor:
    """A tensor in the bytes of its storage."""
    dtype = DTYPES[described["dtype"]]
    sizes, strides = ([int(entry["as_int"]) for entry in described[key]] for key in ("sizes", "strides"))
    offset = int(described["storage_offset"]["as_int"])
    count = math.prod(sizes)
    if count * dtype.itemsize > limits.total_bytes:
        raise UnsafeError(f"{name!a} claims {count} elements, more than the limits allow", "raise the limits")
    if min([offset, *sizes, *strides]) < 0 or len(sizes) != len(strides):
        raise UnsafeError(f"{name!a} has negative sizes or strides", "copy or download the file again")
    if count == 0:
        return torch.empty(sizes, dtype=dtype)
    if not len(content):
        raise ModelError(f"{name!a} has no values", "save the program with its weights")
    reach = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if (reach + 1) * dtype.itemsize > len(content):
        raise UnsafeError(f"{name!a} reaches beyond its bytes", "copy or download the file again")
    storage = content[: len(content) // dtype.itemsize * dtype.itemsize].view(dtype)
    view = storage.as_strided(sizes, strides, offset)
    # Elements of an expanded tensor are one in memory, which an optimiser may not write to.
    return view if 0 not in strides else view.clone()
