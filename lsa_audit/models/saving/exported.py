"""Changes in the weights of a .pt2 file, its program left alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ..archives import check, sha256
from ..exported import program_member
from ..exported.tensors import Members, read_tensors
from ..request import ModelRequest
from .archive import rewritten
from .edits import Edit, write


def pack(edit: Edit, request: ModelRequest) -> bytes:
    """The file with the changes.

    Raises:
        ModelError: the file cannot hold a change.
        UnsafeError: as loading it.
    """
    path = Path(request.spec)
    archive = check(path, request.limits)
    members = Members()
    _, model = program_member(archive)
    tensors = read_tensors(archive, model, request.limits, request.trusts(sha256(path)), members)
    write(edit, {name: tensor.detach() for name, tensor in tensors.items() if name not in members.copied})
    contents = {name: content.numpy().tobytes() for name, content in members.raw.items()}
    contents |= {name: _pickled(value) for name, value in members.pickled.items()}
    return rewritten(archive, contents, request.limits)


def _pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
