"""Whether outputs are what an activation with bounds makes of the values in front of it, which attacks should see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .calls import Activation
from .heads import Blend
from .peeling import Peeled
from .squashing import HARD, REACH, RISES, Curve, Step, curve, run

BASES: Mapping[Activation, Step] = {"sigmoid": torch.sigmoid, "log-sigmoid": torch.nn.functional.logsigmoid}
ROWS: Mapping[Activation, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "softmax": (lambda rows: rows.softmax(1), 0.0, 1.0),
    "log-softmax": (lambda rows: rows.log_softmax(1), -30.0, 0.0),
}
"""What works on all classes at once, and the range of what it makes."""
LEAK = 0.05
"""Slope that attacks see where there is none. PGD on 100 images with a hardtanh leaves 48 right through the outputs, 40
through the values in front, and 25, 29, 34 with slopes of 0.03, 0.1, 0.2."""
BY_HAND = frozenset(RISES.values())
"""What sigmoids and softmaxes are written with."""
TINY = 1e-30


class Squash(NamedTuple):
    """What outputs were made by.

    Attributes:
        name: empty where they are probabilities, as `kind` says.
        blend: what attacks see.
    """

    kind: Activation
    name: str
    blend: Blend


def squashed(entry: Peeled, before: Tensor, after: Tensor) -> Squash | None:
    """What the calls behind `before` [N, K] make of it; None where they do not account for `after` [N, K].

    None too for values without bounds, and for those that lie far apart: attacks work on these as on logits.
    """
    if entry.kind == "argmax":
        return None
    tolerance = 1e-4 if after.dtype in (torch.float32, torch.float64) else 2e-2
    before, after = before.detach().cpu().double(), after.detach().cpu().double()
    steps = (BASES[entry.kind], *entry.steps) if entry.kind in BASES else entry.steps
    start, lowest, highest = ROWS.get(entry.kind, (torch.clone, -REACH, REACH))
    found = curve(steps, lowest, highest)
    if found is None:
        return None
    logits = -before if found.falls else before
    made = run(steps, start(before))
    if entry.shared:
        if before.shape[1] == 1 or not _same_order(logits, after, tolerance):
            return None
    elif not is_near(after, made, tolerance * float(made.abs().max())):
        return None
    by_hand: Activation = "softmax" if entry.shared else "sigmoid"
    if entry.name in BY_HAND and entry.shared != "added" and agrees(by_hand, logits, after):
        return Squash(by_hand, "", Blend(-1.0 if found.falls else 1.0))
    if not (found.bounded and found.squashes(made)) and entry.shared != "scaled":
        return None
    if before.shape[1] == 1 and not found.decides_alone():
        return None
    rescaled = "rescaled " if entry.steps[bool(entry.name) :] else ""
    normalised = "normalised " if entry.shared == "scaled" else ""
    return Squash("squash", f"{normalised}{rescaled}{entry.name or entry.kind}", _blend(entry, found, before.shape[1]))


def _blend(entry: Peeled, found: Curve, columns: int) -> Blend:
    """The values in front, as steep as the outputs at their steepest: of c tanh(z / c) attacks see z.

    What is flat only beyond its bounds keeps its own values within: there its gradient is right, and attacks through
    the values in front alone are weaker, as classes at the same bound are decided by their order.
    """
    values = (-1.0 if found.falls else 1.0) * max(1.0, found.slope)
    if entry.name in HARD and not entry.shared and columns > 1:
        return Blend(LEAK * values, (1 - LEAK) * max(1.0, 1 / found.slope))
    return Blend(values)


def _same_order(logits: Tensor, outputs: Tensor, tolerance: float) -> bool:
    """Whether the outputs rise with the logits, up to rounding, on every image."""
    sorted_outputs = outputs.gather(1, logits.argsort(1))
    return bool((sorted_outputs.diff(dim=1) >= -tolerance * outputs.abs().max()).all())


def agrees(kind: Activation, logits: Tensor, outputs: Tensor) -> bool:
    """Whether the activation really makes these outputs [N, K] of those logits, up to a positive factor.

    For a softmax the factor may differ from image to image, as it does where only some of its classes are returned.
    """
    if logits.shape != outputs.shape:
        return False
    tolerance = 1e-4 if outputs.dtype in (torch.float32, torch.float64) else 2e-2
    logits, outputs = logits.double(), outputs.double()
    if kind == "softmax":
        return logits.shape[1] > 1 and is_near(outputs / outputs.sum(1, keepdim=True), logits.softmax(1), tolerance)
    if kind == "log-softmax":
        return logits.shape[1] > 1 and is_near(outputs.log_softmax(1).exp(), logits.softmax(1), tolerance)
    made = logits.sigmoid() if kind == "sigmoid" else torch.nn.functional.logsigmoid(logits)
    factor = outputs.abs().sum() / made.abs().sum().clamp_min(TINY)
    return is_near(outputs / factor.clamp_min(TINY), made, tolerance * max(1.0, float(made.abs().max())))


def is_near(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether no entry differs by more."""
    return bool(((found - expected).abs() <= tolerance).all())
