"""DDN: gradient steps on a sphere that shrinks while the image is misclassified and grows while it is not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models.answers import is_right
from .deepfool import walk
from .draws import Draws
from .norms import TINY, column, lengths, project, steepest
from .objectives import cross_entropy
from .target import Target

FIRST_RADIUS = 1.0
GAMMA = 0.05
FIRST_STEP = 1.0
LAST_STEP = 0.01


def run(target: Target, rows: Tensor, draws: Draws) -> Tensor:  # noqa: ARG001 - the contract of an attack
    """Gradient steps of the cross-entropy, in l2, whose direction and length are found apart.

    The radius is multiplied by 0.95 after a misclassified image and by 1.05 after any other; the step goes from 1 to
    0.01 along a cosine.
    Source: Rony, Hafemann, Oliveira, Ben Ayed, Sabourin, Granger, "Decoupling direction and norm for efficient
    gradient-based L2 adversarial attacks and defenses", CVPR 2019, arXiv 1811.09600, Algorithm 1, untargeted.
    Differs from the source: it starts from DeepFool's image, and from the clean one with radius 1 only where DeepFool
    finds none, because the cross-entropy alone need not lead to the nearest class; images are not rounded to 8 bits;
    the radius never exceeds the budget's epsilon.

    Args:
        target: the model as the judge lends it; DeepFool takes at most as many steps.
        rows: [n] which images of the batch to perturb.
        draws: not used.

    Returns:
        Images [n, ...] in [0, 1]: what the judge kept of them where that is misclassified, else the last ones.

    Cost: DeepFool's, `steps` forwards and backwards an image, and one forward.
    """
    budget, images = target.budget, target.images
    found, fell = walk(target, rows)
    start = torch.where(column(fell, found), found, images[rows])
    radius = torch.full((len(images),), FIRST_RADIUS, device=images.device)
    radius[rows] = torch.where(fell, lengths(start - images[rows], "l2").flatten(), radius[rows])
    radius.clamp_(max=budget.epsilon)
    current = images.clone()
    current[rows] = project(start, images[rows], budget)
    for step in range(budget.steps):
        working = target.active(rows)
        if not len(working):
            break
        clean, here = images[working], current[working]
        gradient, values = target.gradient(here, working, _signed_cross_entropy)
        side = torch.where(values < 0, -1.0, 1.0)
        radius[working] = (radius[working] * (1 + GAMMA * side)).clamp_max(budget.epsilon)
        length = LAST_STEP + (FIRST_STEP - LAST_STEP) * (1 + math.cos(math.pi * step / budget.steps)) / 2
        delta = here - clean + length * column(side, here) * steepest(gradient, "l2")
        delta *= column(radius[working], here) / lengths(delta, "l2").clamp_min(TINY)
        current[working] = (clean + delta).clamp(0.0, 1.0)
    working = target.active(rows)
    if len(working):
        target.logits(current[working], working)
    return torch.where(column(target.fooled_at[rows] > 0, images), target.best[rows], current[rows])


def _signed_cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy, negated where the image is misclassified: its sign saves the forward that would tell."""
    losses = cross_entropy(logits, labels, targets)
    return torch.where(is_right(logits, labels), losses, -losses)
