"""Fast gradient sign method."""

from __future__ import annotations

from torch import Tensor

from .draws import Draws
from .norms import steepest
from .target import Target


def run(target: Target, rows: Tensor, draws: Draws) -> Tensor:  # noqa: ARG001 - the contract of an attack
    """One step of length epsilon along the gradient of the cross-entropy, from the clean image.

    Update: x' = x + epsilon * sign(g) for linf, x + epsilon * g / ||g|| for l2.
    Source: Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples", 2014, arXiv 1412.6572.
    Differs from the source: the l2 form is the usual generalisation; the judge clips to [0, 1].

    Args:
        target: the model as the judge lends it.
        rows: [n] which images of the batch to perturb.
        draws: not used.

    Returns:
        Images [n, ...], not yet clipped.

    Cost: 1 forward, 1 backward an image. Random: none.
    """
    images = target.images[rows]
    gradient, _ = target.gradient(images, rows)
    return images + target.budget.epsilon * steepest(gradient, target.budget.norm)
