"""Changes in the tensors of a .safetensors file, its metadata left alone."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from ..archives import opened
from ..checkpoint import names_in
from ..request import ModelRequest
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

    places = names_in(header, edit.before)
    usable = {own for own, name in places.items() if header[name]["dtype"] in DTYPES and 0 not in header[name]["shape"]}
    write(edit, {own: tensor(places[own]) for own in usable})
    return bytes(content)
