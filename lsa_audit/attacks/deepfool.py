"""DeepFool: walks to the nearest linearised boundary until the class changes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.answers import is_right
from ..records import Norm
from .draws import Draws
from .hyperplane import shortest
from .norms import column
from .target import Target
from .target_classes import likely_classes, positions

OVERSHOOT = 0.02
HALVINGS = 8
TINY = 1e-12


def run(target: Target, rows: Tensor, draws: Draws) -> Tensor:  # noqa: ARG001 - the contract of an attack
    """Steps to the nearest of the linearised boundaries of up to nine other classes, until one of them wins.

    Source: Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool: a simple and accurate method to fool deep neural networks",
    CVPR 2016, arXiv 1511.04599, Algorithm 2 and its variant for linf; ten classes with the label, overshoot 0.02.
    Differs from the source: each step is the shortest one inside [0, 1], which the source leaves open; the overshoot is
    part of every image that is looked at; eight halvings of the line back to the clean image end the search.

    Args:
        target: the model as the judge lends it; the budget's steps are the most that are taken.
        rows: [n] which images of the batch to perturb.
        draws: not used.

    Returns:
        Images [n, ...] in [0, 1]: the nearest misclassified ones, or the last ones where the steps ran out.

    Cost: at most `steps` + 10 forwards and 9 x `steps` backwards an image; an image that falls takes no more steps.
    """
    return walk(target, rows)[0]


def walk(target: Target, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The same, and which of the images [n] are misclassified."""
    images = target.images[rows]
    current, walked = images.clone(), torch.zeros_like(images)
    classes = likely_classes(target, rows)
    standing = torch.arange(len(rows), device=rows.device)
    for _ in range(target.budget.steps):
        gradients, values = target.differences(current[standing], rows[standing], classes[standing])
        right = (values <= 0).all(1)
        standing = standing[right]
        if not len(standing):
            break
        walked[standing] += _step(current[standing], gradients[right], values[right], target.budget.norm)
        current[standing] = (images[standing] + (1 + OVERSHOOT) * walked[standing]).clamp(0.0, 1.0)
    fell = torch.ones_like(rows, dtype=torch.bool)
    if len(standing):
        fell[standing] = ~is_right(target.logits(current[standing], rows[standing]), target.labels[rows[standing]])
    return _drawn_back(target, rows, current, fell), fell


def _step(here: Tensor, gradients: Tensor, values: Tensor, norm: Norm) -> Tensor:
    """The change [n, ...] to the nearest boundary, from the gradients [n, T, ...] and the values [n, T]."""
    normals = gradients.flatten(2)
    slopes = torch.linalg.vector_norm(normals, ord=1 if norm == "linf" else 2, dim=2)
    nearest = (values.abs() / slopes.clamp_min(TINY)).argmin(1)
    each = torch.arange(len(here), device=here.device)
    return shortest(here.flatten(1), normals[each, nearest], -values[each, nearest], norm).view_as(here)


def _drawn_back(target: Target, rows: Tensor, current: Tensor, fell: Tensor) -> Tensor:
    """The fallen images, as near to the clean ones as they stay misclassified on the line between them."""
    nearest = current.clone()
    low = torch.zeros(len(rows), device=rows.device)
    high = torch.ones_like(low)
    for _ in range(HALVINGS):
        working = positions(target.active(rows[fell]), rows)
        if not len(working):
            break
        clean, middle = target.images[rows[working]], (low[working] + high[working]) / 2
        tried = (clean + column(middle, clean) * (current[working] - clean)).clamp(0.0, 1.0)
        wrong = ~is_right(target.logits(tried, rows[working]), target.labels[rows[working]])
        high[working] = torch.where(wrong, middle, high[working])
        low[working] = torch.where(wrong, low[working], middle)
        nearest[working[wrong]] = tried[wrong]
    return nearest
