"""FAB-T: walks to the nearest point of the decision boundary of each likely class."""

from __future__ import annotations

import torch
from torch import Tensor

from .target import Target
from .draws import Draws
from .hyperplane import shortest
from .norms import column, lengths
from .objectives import difference
from .targets import likely_classes, positions

LARGEST_BIAS = 0.1
OVERSHOOT = 1.05
BACKSTEP = 0.9
SMALLEST = 1e-8


def run(target: Target, rows: Tensor, draws: Draws) -> Tensor:  # noqa: ARG001 - the contract of an attack
    """The nearest misclassified image that the search met, towards each of up to nine classes in turn.

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
        Images [n, ...] in [0, 1]; outside of the ball where none inside was found.

    Cost: up to 9 x `steps` forwards and backwards an image, and one forward.
    """
    images = target.images[rows]
    best, nearest = images.clone(), torch.full((len(rows),), torch.inf, device=images.device)
    for classes in likely_classes(target, rows).unbind(1):
        current = images.clone()
        for _ in range(target.budget.steps):
            working = positions(target.active(rows), rows)
            if not len(working):
                return best
            clean, here = images[working], current[working]
            moved = _step(target, clean, here, rows[working], classes[working])
            current[working] = moved
            fooling = target.logits(moved, rows[working]).argmax(1) != target.labels[rows[working]]
            distances = lengths(moved - clean, target.budget.norm).flatten()
            closer = fooling & (distances < nearest[working])
            best[working[closer]], nearest[working[closer]] = moved[closer], distances[closer]
            back = working[fooling]
            current[back] = images[back] + BACKSTEP * (current[back] - images[back])
    return best


def _step(target: Target, clean: Tensor, here: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
    norm = target.budget.norm
    gradient, value = target.gradient(here, rows, difference, classes)
    flat, normals = here.flatten(1), gradient.flatten(1)
    # The plane through the boundary: normal . (x - here) = -value.
    from_here = shortest(flat, normals, -value, norm).view_as(here)
    offset = -value + (normals * (flat - clean.flatten(1))).sum(1)
    from_clean = shortest(clean.flatten(1), normals, offset, norm).view_as(clean)
    far, near = (lengths(change, norm).flatten().clamp_min(SMALLEST) for change in (from_here, from_clean))
    bias = column((far / (far + near)).clamp(0.0, LARGEST_BIAS), here)
    moved = (here + OVERSHOOT * from_here) * (1 - bias) + (clean + OVERSHOOT * from_clean) * bias
    return moved.clamp(0.0, 1.0)
