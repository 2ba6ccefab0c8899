"""Changes in a checkpoint that torch has written: the same container, with everything else that it holds."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from ...errors import ModelError
from .. import unnamed
from ..archives import opened, sha256
from ..checkpoint import unpickle
from ..pickled import module_in
from ..request import ModelRequest
from ..weight_sets import choose, fits_in
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
    module = module_in(payload, request.weights) if request.arch is None else None
    held, asked = payload if module is None else module, (request.weights, path.name)
    everything, averages = fits_in(held, edit.before), unnamed.averages_in(held, edit.before)
    found = unnamed.choose(averages, everything, edit.before, edit.parameters, *asked)
    found = found or choose(everything, edit.before, *asked)
    if found is None:
        what = f"{path.name} holds its weights under other names than the network"
        raise ModelError(what, "save the network's state_dict() and give that")
    # Sets with the same values stay the same: a later reader would find two that differ.
    for fit in (found, *found.twins):
        write(edit, {own: value.detach() for own, value in fit.state.items() if isinstance(value, Tensor)})
    with opened(path) as file:
        zipped = file.read(len(ZIP)) == ZIP
    buffer = io.BytesIO()
    torch.save(payload, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()
