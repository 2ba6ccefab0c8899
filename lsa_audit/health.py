"""What the outputs of a model say about whether attacks on it can work at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from .attacks.base import Batch, judge
from .attacks.budget import Budget
from .attacks.ensemble import run_unbounded
from .models.parity import relative_difference
from .records import UnboundedTrial

ROUNDING = 1e-5
UNBOUNDED_IMAGES = 64
UNBOUNDED_STEPS = 50


def outputs_are(logits: Tensor) -> Literal["logits", "probabilities", "log-probabilities"]:
    """Whether rows [N, K] are probabilities, their logarithms, or anything else."""
    rounding = ROUNDING * math.sqrt(logits.shape[1])
    if logits.min() >= 0 and ((logits.sum(1) - 1).abs() <= rounding).all():
        return "probabilities"
    if logits.max() <= 0 and (logits.logsumexp(1).abs() <= rounding).all():
        return "log-probabilities"
    return "logits"


def saturated(logits: Tensor) -> Tensor:
    """[N] bool: the softmax of the likeliest class is exactly 1 in float32, so the cross-entropy has no gradient."""
    return logits.softmax(1).amax(1) == 1


def repeat_difference(module: nn.Module, images: Tensor) -> float:
    """Largest difference of the logits of two forwards of the same images, relative to the largest logit."""
    with torch.no_grad():
        first, second = module(images), module(images)
    return relative_difference(second, first)


def training_layers(module: nn.Module) -> tuple[str, ...]:
    """Names of the submodules that stay in training mode after `eval()`; the module must be in eval mode."""
    return tuple(name for name, child in module.named_modules() if name and child.training)


def unbounded(module: nn.Module, parts: Sequence[Batch], seed: int) -> UnboundedTrial:
    """Attack in a ball that holds every image there is: APGD on the cross-entropy, then on the DLR for what is left.

    Args:
        parts: batches of images that withstood every attack of the scan.

    Source: Carlini et al., arXiv 1902.06705, section 5: an unbounded attack must reach every image.
    Cost: 2 x 51 forwards and backwards an image that withstands.
    """
    images = fooled = 0
    for batch in parts:
        outcome = judge(module, run_unbounded, batch, Budget("linf", 1.0, steps=UNBOUNDED_STEPS), seed=seed)
        images += len(outcome.right)
        fooled += int((~outcome.right).sum())
    described = f"apgd-ce and apgd-dlr, {UNBOUNDED_STEPS} steps each, every pixel free in [0, 1]"
    return UnboundedTrial(perturbation=described, images=images, fooled=fooled)
