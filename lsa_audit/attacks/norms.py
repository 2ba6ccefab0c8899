"""The geometry of the budget: steepest steps, projection into the ball and into [0, 1], and random starts."""

from __future__ import annotations

import torch
from torch import Tensor

from ..records import Norm
from .budget import Budget
from .draws import Draws

TINY = 1e-12
BALL_TOLERANCE = 1e-6


def project(perturbed: Tensor, images: Tensor, budget: Budget) -> Tensor:
    """The nearest images inside the ball around `images`, then inside [0, 1]; both [N, ...]."""
    if budget.norm == "linf":
        inside = torch.minimum(torch.maximum(perturbed, images - budget.epsilon), images + budget.epsilon)
    else:
        delta = perturbed - images
        length = lengths(delta, "l2")
        inside = images + delta * (budget.epsilon / length.clamp_min(TINY)).clamp_max(1.0)
    return inside.clamp(0.0, 1.0)


def inside(perturbed: Tensor, images: Tensor, budget: Budget) -> Tensor:
    """[N] bool: whether each perturbed image lies in the ball and in [0, 1], up to float32 rounding."""
    near = lengths(perturbed - images, budget.norm).flatten() <= budget.epsilon * (1 + BALL_TOLERANCE) + BALL_TOLERANCE
    flat = perturbed.flatten(1)
    return near & (flat.amin(1) >= 0) & (flat.amax(1) <= 1)


def lengths(delta: Tensor, norm: Norm) -> Tensor:
    """Norm of each image's perturbation, shaped [N, 1, ...] to broadcast."""
    flat: Tensor = torch.linalg.vector_norm(delta.flatten(1), ord=float("inf") if norm == "linf" else 2, dim=1)
    return column(flat, delta)


def column(values: Tensor, like: Tensor) -> Tensor:
    """One value an image, [N], shaped [N, 1, ...] to broadcast over `like` [N, ...]."""
    return values.view(-1, *(1,) * (like.dim() - 1))


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """The direction of unit length that raises the loss most: the sign for linf, the normalised gradient for l2."""
    if norm == "linf":
        return gradient.sign()
    # Two divisions: the square of a tiny gradient would underflow inside the norm.
    scaled = gradient / lengths(gradient, "linf").clamp_min(torch.finfo(gradient.dtype).tiny)
    return scaled / lengths(scaled, "l2").clamp_min(TINY)


def random_start(images: Tensor, budget: Budget, draws: Draws) -> Tensor:
    """Images uniform in the ball around `images` (l2: uniform in volume), inside [0, 1]."""
    if budget.norm == "linf":
        return (images + budget.epsilon * (2 * draws.uniform(images) - 1)).clamp(0.0, 1.0)
    direction = steepest(draws.normal(images), "l2")
    dimensions = images[0].numel()
    radius = draws.uniform(images[:, :1].flatten(1)[:, :1]) ** (1.0 / dimensions)
    return (images + budget.epsilon * column(radius, images) * direction).clamp(0.0, 1.0)
