"""The geometry of the budget: steepest steps, projection into the ball and into [0, 1], and random starts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..records import Norm
from .budget import Budget
from .draws import Draws

TINY = 1e-12
BALL_TOLERANCE = 1e-6


def project(perturbed: Tensor, images: Tensor, budget: Budget) -> Tensor:
    """The nearest images inside the ball around `images` (l1: towards it), then inside [0, 1]; both [N, ...]."""
    if budget.norm == "linf":
        inside = torch.minimum(torch.maximum(perturbed, images - budget.epsilon), images + budget.epsilon)
    else:
        delta = perturbed - images
        length = lengths(delta, budget.norm)
        inside = images + delta * (budget.epsilon / length.clamp_min(TINY)).clamp_max(1.0)
    return inside.clamp(0.0, 1.0)


class Ball:
    """What a step may reach: the ball around each image, cut by [0, 1]; built once, used at every step.

    Attributes:
        low, high: [N, ...] the lowest and highest value of each pixel.
    """

    def __init__(self, images: Tensor, budget: Budget) -> None:
        self.images = images
        self.budget = budget
        self.low = (images - budget.epsilon).clamp_min(0.0)
        self.high = (images + budget.epsilon).clamp_max(1.0)

    def project(self, perturbed: Tensor) -> Tensor:
        """See `project`."""
        if self.budget.norm == "linf":
            return perturbed.clamp(self.low, self.high)
        return project(perturbed, self.images, self.budget)

    def of(self, kept: Tensor) -> Ball:
        """The balls of some of the images, by position or mask."""
        return Ball(self.images[kept], self.budget)


def inside(perturbed: Tensor, images: Tensor, budget: Budget) -> Tensor:
    """[N] bool: whether each perturbed image lies in the ball and in [0, 1], up to float32 rounding."""
    near = reaches(budget.epsilon, lengths(perturbed - images, budget.norm).flatten())
    flat = perturbed.flatten(1)
    return near & (flat.amin(1) >= 0) & (flat.amax(1) <= 1)


def widest(norm: Norm, images: Tensor) -> float:
    """Radius of the ball that holds every image there is, whatever its centre."""
    features = images[0].numel()
    return {"linf": 1.0, "l2": math.sqrt(features), "l1": float(features)}[norm]


def reaches(epsilon: float, distance: Tensor) -> Tensor:
    """Whether a ball of that radius holds a point at that distance, up to float32 rounding."""
    return distance <= epsilon * (1 + BALL_TOLERANCE) + BALL_TOLERANCE


def lengths(delta: Tensor, norm: Norm) -> Tensor:
    """Norm of each image's perturbation, shaped [N, 1, ...] to broadcast."""
    flat = delta.flatten(1)
    # vector_norm takes ten times as long for the largest entry.
    if norm == "l2":
        return column(torch.linalg.vector_norm(flat, dim=1), delta)
    return column(flat.abs().amax(1) if norm == "linf" else flat.abs().sum(1), delta)


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
