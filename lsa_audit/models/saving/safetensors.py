"""Changes in the tensors of a .safetensors file, its metadata left alone."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from ...errors import ModelError
from ..archives import opened
from ..request import ModelRequest
from ..weight_sets import choose, fits_in
from .edits import Edit, write

DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I8": torch.int8,
    "U8": torch.uint8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "BOOL": torch.bool,
}
LENGTH_BYTES = 8


def pack(edit: Edit, request: ModelRequest) -> bytes:
    """The file with the changes.

    Raises:
        ModelError: the file cannot hold a change.
    """
    with opened(Path(request.spec)) as file:
        content = bytearray(file.read())
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES:start])
    header.pop("__metadata__", None)

    def tensor(name: str) -> Tensor:
        entry = header[name]
        begin, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        count = (end - begin) // dtype.itemsize
        return torch.frombuffer(content, dtype=dtype, count=count, offset=start + begin).reshape(entry["shape"])

    usable = {name for name, entry in header.items() if entry["dtype"] in DTYPES and 0 not in entry["shape"]}
    held = {
        name: tensor(name) if name in usable else torch.empty(entry["shape"], device="meta")
        for name, entry in header.items()
    }
    path = Path(request.spec)
    found = choose(fits_in(held, edit.before), edit.before, request.weights, path.name)
    if found is None:
        what = f"{path.name} holds its weights under other names than the network"
        raise ModelError(what, "save the network's state_dict() and give that")
    for fit in (found, *found.twins):
        write(edit, {own: held[name] for own, name in fit.names.items() if name in usable})
    return bytes(content)
