"""Noises of the same budget as the attacks: what a layer does under a random change of that size."""

from __future__ import annotations

import torch
from torch import Tensor

from .draws import Draws
from .norms import TINY, lengths
from .target import Target

CHANGED_PIXELS = 0.1
"""Share of the pixels that salt and pepper change."""


def gaussian(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """Normal noise with standard deviation epsilon (l2: a random direction of length epsilon). See `_in_budget`."""
    return _in_budget(draws.normal(target.images[rows]), target, rows)


def uniform(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """Noise uniform in -epsilon..epsilon (l2: scaled to length epsilon). See `_in_budget`."""
    return _in_budget(2 * draws.uniform(target.images[rows]) - 1, target, rows)


def salt(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """One pixel in ten, all its channels, is made brighter by epsilon. See `_in_budget`."""
    return _in_budget(_changed_pixels(target.images[rows], draws), target, rows)


def pepper(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """One pixel in ten, all its channels, is made darker by epsilon. See `_in_budget`."""
    return _in_budget(-_changed_pixels(target.images[rows], draws), target, rows)


def speckle(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """Normal noise with standard deviation epsilon times the pixel's own value. See `_in_budget`."""
    images = target.images[rows]
    return _in_budget(images * draws.normal(images), target, rows)


def _in_budget(noise: Tensor, target: Target, rows: Tensor) -> Tensor:
    """The images plus the noise at the size that the budget allows.

    Source: the noises of figure 2 in Khalooei et al., arXiv 2202.02626, which states no amounts.
    Differs from the source: each noise is kept in the same ball as the attacks (linf: the unit noise times epsilon,
    clipped to the ball; l2, l1: scaled to length epsilon), so that a layer's answers to both can be compared.

    Cost: no model call. Random: one generator an image.
    """
    budget = target.budget
    unit = noise if budget.norm == "linf" else noise / lengths(noise, budget.norm).clamp_min(TINY)
    return target.images[rows] + budget.epsilon * unit


def _changed_pixels(images: Tensor, draws: Draws) -> Tensor:
    one_channel = draws.uniform(images[:, :1])
    return (
        (one_channel < CHANGED_PIXELS).to(images.dtype).expand_as(images)
        if images.dim() > 2
        else _features(images, draws)
    )


def _features(images: Tensor, draws: Draws) -> Tensor:
    """A feature vector has no pixels: each feature is one."""
    return (draws.uniform(images) < CHANGED_PIXELS).to(torch.float32)
