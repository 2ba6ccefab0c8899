"""The changed model as a file, loaded again before anybody gets it."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from .. import models
from ..errors import ModelError, OutputError
from ..models.base import Model
from ..models.deciding import VALUE_IMAGES
from ..models.fitting import decided, fit
from ..models.parity import relative_difference
from ..models.request import ModelRequest
from ..models.saving import pack, reload_request
from ..models.saving.edits import state_of
from ..models.state import preserved
from ..records.repair import RepairedFile, Strengths
from .scaling import Fold, change, scaled

Made = Literal["repaired", "hardened"]

TOLERANCE = 1e-5
FORMAT_HINT = "its number format cannot hold the change; convert the model to float32"
TRIAL = Strengths(fragile=0.97, robust=0.29)
"""Almost the largest; a scale of 2 would need no rounding and so hide it."""

TYPES = (None, torch.bfloat16, torch.float16, torch.float32)
"""In which a file may keep weights; None: in that of the network."""


@dataclass(frozen=True)
class ModelFile:
    """What is to be written: name -> content of the model file and of what must lie beside it."""

    info: RepairedFile
    contents: Mapping[str, bytes]


def fitted_to_file(chosen: Sequence[Fold], model: Model, request: ModelRequest, images: Tensor) -> tuple[Fold, ...]:
    """The same, to be rounded as the model's file rounds; tried before anything is attacked.

    Args, Raises: as `checked_file`.

    Cost: as `checked_file`; nothing where nothing is to change.
    """
    if not change(chosen, TRIAL):
        return tuple(chosen)
    with scaled(chosen, TRIAL):
        name, _, again = _loaded_again(model, request, images, "repaired")
        rounded = tuple(replace(entry, rounded_to=_shorter_types(entry, model, again, name)) for entry in chosen)
    with scaled(rounded, TRIAL):
        _difference(name, again, model, images)
    return rounded


def checked_file(model: Model, request: ModelRequest, images: Tensor, made: Made) -> ModelFile:
    """The model as it is now in the format that it came in, once a copy has been loaded again and agrees.

    Args:
        request: what it was loaded with.
        images: [N, ...] on which the logits are compared, on the model's device.
        made: what was done to the model, for its name.

    Raises:
        ModelError: the format cannot hold the change, or the file loaded again gives other logits.
        OutputError: the temporary folder cannot be written.
        UnsafeError: the file cannot be written or read without running code of it.

    Cost: the file in memory and once in the temporary folder, and two forwards.
    """
    name, contents, again = _loaded_again(model, request, images, made)
    difference = _difference(name, again, model, images)
    sha256 = hashlib.sha256(contents[name]).hexdigest()
    return ModelFile(RepairedFile(name=name, sha256=sha256, difference=difference), contents)


def _packed(model: Model, request: ModelRequest, made: Made) -> tuple[str, dict[str, bytes]]:
    """The name of the model's file, and the contents of it and of what must lie beside it, by name."""
    packed = pack(model, request)
    name = f"{_stem(request)}-{made}{packed.suffix}"
    contents = {name: packed.content}
    if packed.sidecar is not None:
        contents[Path(name).with_suffix(".yaml").name] = packed.sidecar.encode()
    return name, contents


def _loaded_again(
    model: Model, request: ModelRequest, images: Tensor, made: Made
) -> tuple[str, dict[str, bytes], Model]:
    """As `_packed`, and the model that a copy of the file holds."""
    try:
        name, contents = _packed(model, request, made)
        with tempfile.TemporaryDirectory(prefix="lsa-audit-") as folder:
            for file, content in contents.items():
                (Path(folder) / file).write_bytes(content)
            again = decided(models.load(reload_request(request, Path(folder) / name)), model.classes)
            with preserved(again.module):
                return name, contents, fit(again, images[:VALUE_IMAGES].cpu(), model.classes)
    except OSError as error:
        what = f"the {made} model cannot be tried in the temporary folder: {error.strerror or error}"
        raise OutputError(what, "free space there, or name another one with TMPDIR") from None


def _difference(name: str, again: Model, model: Model, images: Tensor) -> float:
    """How far the logits of the file are from those of the model, relative."""
    with preserved(again.module), torch.no_grad():
        difference = relative_difference(again.module.to(images.device)(images), model.module(images))
    if not difference <= TOLERANCE:
        what = f"the new file {name}, loaded again, differs by {difference:.1e} of the largest logit"
        raise ModelError(what, FORMAT_HINT)
    return difference


def _shorter_types(entry: Fold, model: Model, again: Model, name: str) -> tuple[torch.dtype | None, ...]:
    """The types to which the file has rounded the edited weights; None for one that is the same bit by bit."""
    stored = state_of(again.module.network)
    places = {value.data_ptr(): key for key, value in model.module.network.state_dict(keep_vars=True).items()}
    types = []
    for tensor in entry.tensors:
        found, value = stored.get(places.get(tensor.data_ptr(), "")), tensor.cpu()
        fitting = [] if found is None else [kind for kind in TYPES if torch.equal(found, _rounded(value, kind))]
        if not fitting:
            what = f"the new file {name} would not hold {entry.weights.name} as it was edited"
            raise ModelError(what, FORMAT_HINT)
        types.append(fitting[0])
    return tuple(types)


def _rounded(value: Tensor, kind: torch.dtype | None) -> Tensor:
    return value if kind is None else value.to(kind).to(value.dtype)


def _stem(request: ModelRequest) -> str:
    """The input's name: of a file without its suffix, of a hub's or a factory's model its last part."""
    path = request.checkpoint or Path(request.spec)
    return path.stem if path.is_file() else re.split("[/:]", request.spec)[-1]
