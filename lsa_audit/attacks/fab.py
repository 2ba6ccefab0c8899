"""FAB-T: walks to the nearest point of the decision boundary of each likely class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.answers import is_right
from .draws import Draws
from .hyperplane import shortest
from .norms import lengths
from .objectives import difference
from .target import Target
from .target_classes import CLASSES, likely_classes, positions

LARGEST_BIAS = 0.1
OVERSHOOT = 1.05
BACKSTEP = 0.9
SMALLEST = 1e-8


def run(target: Target, rows: Tensor, draws: Draws, *, classes: int = CLASSES) -> Tensor:  # noqa: ARG001
    """The nearest misclassified image that the search met, towards each of up to `classes` likely classes.

    Each step goes to the linearised boundary from the current image and from the clean one, and in between by their
    distances; a misclassified image is drawn back towards the clean one.
    Source: Croce, Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020,
    arXiv 1907.02044, Algorithm 1, targeted as in arXiv 2003.01690; alpha_max 0.1, eta 1.05, beta 0.9, clean start.
    Differs from the source: a fooled image stops as soon as it lies in the ball, where the budget allows that.

    Args:
        target: the model as the judge lends it; the budget's steps are those for each class.
        rows: [n] which images of the batch to perturb.
        draws: not used.

    Returns:
        Images [n, ...] in [0, 1]; outside of the ball where none inside was found, clean where none at all was.

    Cost: up to `classes` x `steps` x 2 forwards and as many backwards an image, and one forward.
    """
    found = _Found(target.images[rows].clone(), torch.full((len(rows),), torch.inf, device=rows.device))
    for aims in likely_classes(target, rows, classes).unbind(1):
        _walk(target, rows, aims, found)
    return found.images


@dataclass(frozen=True)
class _Found:
    """The nearest misclassified image of each row, [n, ...], and how far it is, [n]."""

    images: Tensor
    distances: Tensor

    def keep(self, places: Tensor, moved: Tensor, distances: Tensor) -> None:
        closer = (distances < self.distances[places]).nonzero().flatten()
        self.images[places[closer]] = moved[closer]
        self.distances[places[closer]] = distances[closer]


def _walk(target: Target, rows: Tensor, aims: Tensor, found: _Found) -> None:
    """All steps towards one class of each row, `aims` [n]."""
    places = torch.arange(len(rows), device=rows.device)
    clean = target.images[rows]
    current = clean
    for _ in range(target.budget.steps):
        active = target.active(rows)
        if len(active) < len(rows):
            kept = positions(active, rows)
            rows, places, aims, clean, current = active, places[kept], aims[kept], clean[kept], current[kept]
        if not len(rows):
            return
        current = _step(target, clean, current, rows, aims)
        fooling = (~is_right(target.logits(current, rows), target.labels_of(rows))).nonzero().flatten()
        if len(fooling):
            change = current[fooling] - clean[fooling]
            found.keep(places[fooling], current[fooling], lengths(change, target.budget.norm).flatten())
            current[fooling] = clean[fooling] + BACKSTEP * change


def _step(target: Target, clean: Tensor, here: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
    norm = target.budget.norm
    gradient, value = target.gradient(here, rows, difference, classes)
    flat, start, normals = here.flatten(1), clean.flatten(1), gradient.flatten(1)
    # The plane through the boundary: normal . (x - here) = -value.
    from_here = shortest(flat, normals, -value, norm)
    from_clean = shortest(start, normals, torch.linalg.vecdot(normals, flat - start) - value, norm)
    far, near = (lengths(change, norm).clamp_min(SMALLEST) for change in (from_here, from_clean))
    bias = (far / (far + near)).clamp_max(LARGEST_BIAS)
    towards_here, towards_clean = from_here.mul_(OVERSHOOT).add_(flat), from_clean.mul_(OVERSHOOT).add_(start)
    return towards_here.lerp_(towards_clean, bias).clamp_(0.0, 1.0).view_as(here)
