"""What only a run on images can tell of a model: which output holds its logits, input shape, class count, parity."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..errors import AuditError, ModelError, first_line
from ..records import Conversion
from .base import Model
from .deciding import settle
from .finite import check_finite
from .outputs import choose
from .parity import relative_difference
from .widening import OTHER_TYPE, TYPE_HINT


def decided(model: Model, classes: int | None) -> Model:
    """The model with the output that holds its logits.

    Args:
        classes: of the data, where known.

    Raises:
        UndecidedError: several outputs can, and nothing tells which.

    Cost: nothing, or loading the file once more.
    """
    if model.undecided is None:
        return model
    choice = choose(model.undecided.candidates, None, model.wanted_classes or classes, model.name)
    chosen = model.undecided.load(choice.name)
    return replace(chosen, asked=replace(chosen.asked, choice=choice))


def fit(model: Model, images: Tensor, classes: int | None = None) -> Model:
    """Run the model once on real images and settle what only a run can tell: input shape, class count, and how its
    outputs become logits.

    Args:
        images: [N, C, H, W] or [N, F] float32 in [0, 1], N >= 1; two are enough but where only values can tell.
        classes: of the data, where known; tells logits from other outputs.

    Returns:
        The model with `classes`, `outputs` and `preprocessing.input_shape` filled in (`module.head` settled).

    Raises:
        ModelError: forward raised, there are no scores [N, K], or a logit or a weight is not finite.
        UsageError: nothing tells which output holds the logits, or what a single number an image means.
    """
    model = decided(model, classes)
    check_finite(model.module.network, model.name)
    if model.finish is not None:
        model = replace(model.finish(model, images), finish=None)
    module = model.module
    home = next((parameter.device for parameter in module.parameters()), images.device)
    module.to(home)
    asked = replace(model.asked, classes=model.wanted_classes or classes)
    try:
        settled = settle(lambda some: module.network(module.prepare(some)), images.to(home), asked, model.name)
    except AuditError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        shape = tuple(images.shape[1:])
        raise ModelError(
            f"{model.name} failed in forward on images of shape {shape}: {reason}",
            TYPE_HINT if OTHER_TYPE.search(reason) else "if the size is wrong, give --input-size CxHxW",
        ) from error
    module.head = settled.head
    count = settled.logits.shape[1]
    if model.wanted_classes not in (None, count):
        wanted = f"{model.wanted_classes} classes {model.provenance.get('classes', '')}".strip()
        raise ModelError(f"{model.name} has {count} classes, not {wanted}", "give the model's own number, or none")
    preprocessing = replace(model.preprocessing, input_shape=tuple(images.shape[1:]))
    compared = _compared(model, images.to(home))
    return replace(
        model,
        classes=count,
        preprocessing=preprocessing,
        provenance={"input size": "the data", "classes": "the model's own output", **model.provenance},
        conversion=compared,
        reference=None,
        outputs=settled.info,
    )


def _compared(model: Model, images: Tensor) -> Conversion | None:
    """The conversion with the parity to the file's own program, where there is one to compare with.

    Raises:
        ModelError: the two differ by more than the model's tolerance.
    """
    if model.reference is None or model.conversion is None:
        return model.conversion
    with torch.no_grad():
        taken, head = model.module.prepare(images), model.module.head
        found = head.picked(model.module.network(taken))
        try:
            expected = head.picked(model.reference(taken))
        except Exception as error:  # noqa: BLE001 - whatever the program of a file raises where it cannot run
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:160]
            detail = f"not compared: the file's own program does not run here ({reason})"
            return model.conversion.model_copy(update={"reference": None, "parity_detail": detail})
    parity = relative_difference(found, expected)
    if not parity <= model.tolerance:
        what = (
            f"{model.name} as converted differs from {model.conversion.reference} by {parity:.1e} of the largest logit"
        )
        raise ModelError(what, "this is a defect of the conversion: please report it")
    said = f"; {model.conversion.parity_detail}" if model.conversion.parity_detail else ""
    return model.conversion.model_copy(update={"parity": parity, "parity_detail": f"on {len(images)} images{said}"})
