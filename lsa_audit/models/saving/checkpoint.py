"""Changes in a checkpoint that torch has written: the same container, with everything else that it holds."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from ..archives import opened, sha256
from ..checkpoint import names_in, tensors_in, unpickle
from ..pickled import module_in
from ..request import ModelRequest
from .edits import Edit, write

ZIP = b"PK"


def pack(edit: Edit, request: ModelRequest) -> bytes:
    """The file with the changes, in torch's newer or older form, as it was.

    Raises:
        ModelError: the file cannot hold a change.
        UnsafeError: as loading it.
    """
    path = Path(request.spec)
    payload = unpickle(path, request.limits, request.trusts(sha256(path)))
    module = module_in(payload) if request.arch is None else None
    state = tensors_in(payload if module is None else module, path)
    write(edit, {own: state[name].detach() for own, name in names_in(state, edit.before).items()})
    with opened(path) as file:
        zipped = file.read(len(ZIP)) == ZIP
    buffer = io.BytesIO()
    torch.save(payload, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()
