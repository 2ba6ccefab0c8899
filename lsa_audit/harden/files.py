"""The repaired model as a file, loaded again before anybody gets it."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import models
from ..errors import ModelError
from ..models.base import Model, fit
from ..models.parity import relative_difference
from ..models.request import ModelRequest
from ..models.saving import pack, reload_request
from ..models.state import preserved
from ..records.repair import RepairedFile

SUFFIX = "-repaired"
TOLERANCE = 1e-5


@dataclass(frozen=True)
class ModelFile:
    """What is to be written: name -> content of the model file and of what must lie beside it."""

    info: RepairedFile
    contents: Mapping[str, bytes]


def checked_file(model: Model, request: ModelRequest, images: Tensor) -> ModelFile:
    """The model as it is now in the format that it came in, once a copy has been loaded again and agrees.

    Args:
        request: what it was loaded with.
        images: [N, ...] on which the logits are compared, on the model's device.

    Raises:
        ModelError: the format cannot hold the change, or the file loaded again gives other logits.
        UnsafeError: the file cannot be written or read without running code of it.

    Cost: the file in memory and once in the temporary folder, and two forwards.
    """
    packed = pack(model, request)
    name = f"{_stem(request)}{packed.suffix}"
    contents = {name: packed.content}
    if packed.sidecar is not None:
        contents[Path(name).with_suffix(".yaml").name] = packed.sidecar.encode()
    with tempfile.TemporaryDirectory(prefix="lsa-audit-") as folder:
        for file, content in contents.items():
            (Path(folder) / file).write_bytes(content)
        again = models.load(reload_request(request, Path(folder) / name))
        with preserved(again.module), torch.no_grad():
            again = fit(again, images[:2].cpu())
            difference = relative_difference(again.module.to(images.device)(images), model.module(images))
    if not difference <= TOLERANCE:
        what = f"the repaired file {name}, loaded again, differs by {difference:.1e} of the largest logit"
        raise ModelError(what, "its number format cannot hold the change; convert the model to float32")
    sha256 = hashlib.sha256(packed.content).hexdigest()
    return ModelFile(RepairedFile(name=name, sha256=sha256, difference=difference), contents)


def _stem(request: ModelRequest) -> str:
    """The input's name: of a file without its suffix, of a hub's or a factory's model its last part."""
    path = request.checkpoint or Path(request.spec)
    named = path.stem if path.is_file() else re.split("[/:]", request.spec)[-1]
    return f"{named}{SUFFIX}"
