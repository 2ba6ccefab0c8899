"""Changes in the weights of a TorchScript file, its program left alone."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ...errors import ModelError
from .. import torchscript
from ..archives import Archive, check, sha256
from ..pickles import PICKLE_BYTES, Contents, read_pickle
from ..request import ModelRequest
from ..torchscript.declared import PICKLES
from .archive import rewritten
from .edits import NAME_HINT, Edit, state_of, write

STORAGES = {
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
}
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By bytes."""

MOST_MEMBERS = 2**15 - 1


def pack(edit: Edit, request: ModelRequest) -> bytes:
    """The file with the changes.

    Raises:
        ModelError: a file for the lite interpreter, or one that cannot hold a change.
        UnsafeError: as loading it.

    Cost: loading the file once more.
    """
    archive = check(Path(request.spec), request.limits)
    if "bytecode.pkl" in archive.sizes:
        what = f"{edit.file} holds its program a second time, for the lite interpreter"
        raise ModelError(what, "save it with torch.jit.save, without that part")
    kinds = _storages(archive)
    contents = {name: bytearray(archive.read(name, request.limits.member_bytes)) for name in kinds}
    write(edit, _places(archive, request, kinds, contents))
    return rewritten(archive, contents, request.limits)


def _storages(archive: Archive) -> dict[str, torch.dtype]:
    """Members that hold floats, and of which type."""
    found: dict[str, torch.dtype] = {}
    for pickle in PICKLES:
        listed = Contents()
        read_pickle(io.BytesIO(archive.read(pickle, PICKLE_BYTES)), listed)
        folder = pickle.removesuffix(".pkl")
        names = {f"{folder}/{storage.key}": storage.kind for storage in listed.storages}
        found |= {name: STORAGES[kind] for name, kind in names.items() if kind in STORAGES and archive.sizes[name]}
    if len(found) > MOST_MEMBERS:
        raise ModelError(f"{archive.path.name} holds its weights in {len(found)} pieces", NAME_HINT)
    return found


def _places(
    archive: Archive, request: ModelRequest, kinds: Mapping[str, torch.dtype], contents: Mapping[str, bytearray]
) -> dict[str, Tensor]:
    """Where each tensor of the network lies in the contents of the members.

    Neither torch nor a frozen program keeps the way from a name to a member. So the file is loaded once more with the
    number of the member in the place of each of its elements.
    """
    members = list(kinds)
    marks = {
        name: number.to_bytes(kinds[name].itemsize, "little") * (len(contents[name]) // kinds[name].itemsize)
        for number, name in enumerate(members, start=1)
    }
    places = {}
    for name, tensor in _marked_state(archive, request, marks).items():
        if tensor.dtype not in kinds.values() or not tensor.numel():
            continue
        numbers = tensor.view(INTEGERS[tensor.dtype.itemsize]).flatten()
        number = int(numbers[0])
        if not 0 < number <= len(members) or not (numbers == number).all():
            continue
        member = members[number - 1]
        content = contents[member]
        storage = torch.frombuffer(content, dtype=tensor.dtype, count=len(content) // tensor.dtype.itemsize)
        places[name] = storage.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
    return places


def _marked_state(archive: Archive, request: ModelRequest, marks: Mapping[str, bytes]) -> dict[str, Tensor]:
    """What the network holds when the file holds the marks; nothing of it is run."""
    trusted = request.trusts(sha256(archive.path))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / archive.path.name
        path.write_bytes(rewritten(archive, marks, request.limits, stored=True))
        marked = replace(request, spec=str(path), checkpoint=None, allow_code=trusted)
        return state_of(torchscript.as_stored(marked))
