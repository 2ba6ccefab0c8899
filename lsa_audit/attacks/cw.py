"""Carlini and Wagner's l2 attack: weighs the distance against the margin, and searches for the weight."""

from __future__ import annotations

import torch
from torch import Tensor

from .deepfool import walk
from .draws import Draws
from .norms import column
from .objectives import margin
from .target import Target
from .target_classes import positions

SEARCHES = 9
FIRST_CONSTANT = 1e-3
GROWTH = 10.0
LEARNING_RATE = 0.01
MEAN_DECAY = 0.9
SQUARE_DECAY = 0.999
STABILISER = 1e-8
SHRINK = 0.999999
"""Pixels at 0 and 1 would lie at infinity in tanh space."""


def run(target: Target, rows: Tensor, draws: Draws) -> Tensor:  # noqa: ARG001 - the contract of an attack
    """Lowers ||x' - x||^2 + constant * max(z_y - max_{i != y} z_i, 0) by Adam in tanh space; untargeted, kappa 0.

    Nine constants: from 0.001 on, ten times the last while none is large enough, then halfway between the largest that
    is not and the smallest that is. Learning rate 0.01; both as in the authors' code.
    Source: Carlini, Wagner, "Towards evaluating the robustness of neural networks", S&P 2017, arXiv 1608.04644,
    section VI-A with the objective f_6; Adam: Kingma, Ba, ICLR 2015, arXiv 1412.6980, with its own settings.
    Differs from the source: every descent starts from DeepFool's image, and from the clean one only where DeepFool
    finds none, because pixels at 0 and 1 hardly move in tanh space; a constant is large enough where an image of the
    second half of the steps is misclassified, because Adam's first steps overshoot near boundaries whatever the
    constant; a descent does not end early.

    Args:
        target: the model as the judge lends it; the budget's steps are those for each constant and DeepFool's most.
        rows: [n] which images of the batch to perturb.
        draws: not used.

    Returns:
        Images [n, ...] in [0, 1]: what the judge kept of them where that is misclassified, else the last ones.

    Cost: DeepFool's, and 9 x `steps` forwards and backwards an image.
    """
    found, fell = walk(target, rows)
    start = torch.where(column(fell, found), found, target.images[rows])
    last = start.clone()
    low = torch.zeros(len(rows), device=rows.device)
    high, constants = torch.full_like(low, torch.inf), torch.full_like(low, FIRST_CONSTANT)
    for _ in range(SEARCHES):
        working = positions(target.active(rows), rows)
        if not len(working):
            break
        last[working], enough = _descend(target, rows[working], start[working], constants[working])
        high[working] = torch.where(enough, constants[working], high[working])
        low[working] = torch.where(enough, low[working], constants[working])
        constants = torch.where(high.isinf(), GROWTH * constants, (low + high) / 2)
    return torch.where(column(target.fooled_at[rows] > 0, last), target.best[rows], last)


def _descend(target: Target, rows: Tensor, start: Tensor, constants: Tensor) -> tuple[Tensor, Tensor]:
    """The last images [n, ...] of one descent, and whether each constant [n] was large enough."""
    images, last = target.images[rows], start.clone()
    places = torch.atanh((2 * start - 1) * SHRINK)
    mean, square = torch.zeros_like(images), torch.zeros_like(images)
    enough = torch.zeros_like(rows, dtype=torch.bool)
    for step in range(1, target.budget.steps + 1):
        working = positions(target.active(rows), rows)
        if not len(working):
            break
        # (tanh(w) + 1) / 2 without its rounding near 0; its slope is 2 x (1 - x).
        tried = torch.sigmoid(2 * places[working])
        last[working] = tried
        gradient, margins = target.gradient(tried, rows[working], margin)
        if 2 * step > target.budget.steps:
            enough[working] |= margins < 0
        weights = column(constants[working] * (margins > 0), tried)
        slope = (2 * (tried - images[working]) + weights * gradient) * 2 * tried * (1 - tried)
        mean[working] = MEAN_DECAY * mean[working] + (1 - MEAN_DECAY) * slope
        square[working] = SQUARE_DECAY * square[working] + (1 - SQUARE_DECAY) * slope**2
        size = (square[working] / (1 - SQUARE_DECAY**step)).sqrt() + STABILISER
        places[working] -= LEARNING_RATE * mean[working] / (1 - MEAN_DECAY**step) / size
    return last, enough
