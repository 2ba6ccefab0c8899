"""A network in half or double precision as one in float32, in which the audit computes."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..errors import ModelError, first_line
from .base import Model, Opaque, PixelModel

WIDENED = (torch.float16, torch.bfloat16, torch.float64)
OTHER_TYPE = re.compile(r"\bdtypes?\b|scalar type|c10::(Half|BFloat16)|Input type \(")
"""How torch says that an operation got operands of several types."""
TYPE_HINT = "make its forward compute in one type: float32, or that of its weights from its input on"


def in_float32(model: Model, images: Tensor) -> Model:
    """The model whose network runs on float32 images: as it is where it can, else turned into float32 itself.

    Args:
        images: as for `fit`.

    Raises:
        ModelError: it computes in another type, and its forward fails in float32 too.

    Cost: two forwards where a parameter has another float type, else nothing.
    """
    return _widened(model, images, own=True)


def copied_in_float32(model: Model, images: Tensor) -> Model:
    """The same for a network of the caller's, which is left as it is: a copy of it is turned into float32."""
    return _widened(model, images, own=False)


def _widened(model: Model, images: Tensor, *, own: bool) -> Model:
    network = model.module.network
    types = _other_types(network)
    if not types or isinstance(network, Opaque) or _failure(model.module, images) is None:
        # One that casts its input itself computes as it wants.
        return model
    try:
        widened = (network if own else copy.deepcopy(network)).float()
    except Exception as error:
        what = f"{model.name} computes in {types} and cannot be copied: {first_line(error)[:200]}"
        raise ModelError(what, "give it in float32: model.float()") from error
    module = model.module if own else PixelModel(widened, model.preprocessing)
    failed = _failure(module, images)
    if failed is not None and OTHER_TYPE.search(str(failed)):
        what = f"{model.name} computes in {types}, and fails in float32: {type(failed).__name__}: {first_line(failed)}"
        raise ModelError(what, TYPE_HINT)
    note = f"the model computes in {types}; it is audited in float32"
    return replace(model, module=module, notes=(*model.notes, note))


def _other_types(network: nn.Module) -> str:
    """The float types other than float32 of the network's parameters, in words; empty where there are none."""
    kinds = {parameter.dtype for parameter in network.parameters()}
    return " and ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds if kind in WIDENED))


def _failure(module: PixelModel, images: Tensor) -> Exception | None:
    """What the network raises on the images."""
    home = next((parameter.device for parameter in module.parameters()), images.device)
    module.to(home)
    try:
        with torch.no_grad():
            module.network(module.prepare(images.to(home)))
    except Exception as error:  # noqa: BLE001 - whatever a user's forward raises
        return error
    return None
