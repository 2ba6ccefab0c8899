"""Adversarial weight perturbation: the loss is taken where the weights themselves were moved to raise it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def perturbed(parameters: Sequence[Tensor], gradients: Sequence[Tensor], gamma: float) -> Iterator[None]:
    """Move weights up their gradients while the context is open: w + gamma * ||w|| * g / ||g||.

    Weights of fewer than two dimensions (biases, batch norms) stay, and so do those whose gradient is 0. Afterwards
    every weight has the very bits that it had.
    Source: Wu, Xia, Wang, "Adversarial weight perturbation helps robust generalization", NeurIPS 2020, arXiv
    2004.05884, section 4, with one step.
    Differs from the source: one norm for each weight tensor; the weights go back before the optimiser's step, not
    after it, so its weight decay acts on the weights that were not moved.

    Args:
        parameters: of the model.
        gradients: of the loss by each of them, the same in every process.
        gamma: how far, as a share of each weight's norm.

    Cost: a copy of the weights.
    """
    moves = [(weight, gradient) for weight, gradient in zip(parameters, gradients, strict=True) if weight.dim() > 1]
    kept = [weight.detach().clone() for weight, _ in moves]
    try:
        with torch.no_grad():
            for weight, gradient in moves:
                length = torch.linalg.vector_norm(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)
                weight.add_(gradient * (gamma * torch.linalg.vector_norm(weight) / length))
        # Autocast would go on with the casts that it holds of the weights as they were.
        torch.clear_autocast_cache()
        yield
    finally:
        with torch.no_grad():
            for (weight, _), original in zip(moves, kept, strict=True):
                weight.copy_(original)
        torch.clear_autocast_cache()
