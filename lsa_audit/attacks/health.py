"""What the outputs and the gradients of a model say about whether attacks on it can work at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..models.parity import relative_difference
from ..models.state import preserved
from ..records import SlopeTrial, UnboundedTrial
from .base import Batch, judge
from .budget import Budget
from .draws import Draws
from .ensemble import run_unbounded
from .norms import random_start
from .objectives import log_odds
from .target import STRONG, Target

ROUNDING = 1e-5
UNBOUNDED_IMAGES = 64
UNBOUNDED_STEPS = 50
SLOPE_IMAGES = 64
SLOPE_STEPS = (1 / 1020, 1 / 255, 4 / 255)
"""Small ones show the slope; a model that rounds inside may need the last one to change at all."""
SLOPE_ROUNDING = 1e-5
"""Of the largest logit: about a hundred roundings of float32."""
AT_BOUND = 0.01
NOISE_FACTOR = 4.0
CURVATURE = 0.5
"""Four times the step must change the loss by four times as much, up to this share."""
PIXEL_GROUPS = 8


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


def at_bounds(logits: Tensor) -> int:
    """Of how many rows [N, K] the winner is at its class's upper bound and half of the others at one of theirs.

    Bounds are the largest and the smallest value of each class over all rows; what lies within 1 % of their distance is
    at them. One row a class is there in any case, and not counted.
    """
    values = logits.double()
    low, high = values.amin(0), values.amax(0)
    near = AT_BOUND * (high - low)
    winner = values.argmax(1, keepdim=True)
    up, down = high - values <= near, values - low <= near
    wins = (up & (high > low)).gather(1, winner).flatten()
    others = (up | down).scatter(1, winner, False).sum(1) >= (values.shape[1] - 1) / 2
    found = winner.flatten()[wins & others]
    return len(found) - len(set(found.tolist()))


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

    It starts from the clean images. One random image of the ball is tried beside it: what that fools says nothing of
    the gradients.

    Args:
        parts: batches of images that withstood every attack of the scan.

    Source: Carlini et al., arXiv 1902.06705, section 5: an unbounded attack must reach every image.
    Cost: 2 x 51 forwards and backwards an image that withstands, and one forward.
    """
    images = fooled = by_chance = 0
    budget = Budget("linf", 1.0, steps=UNBOUNDED_STEPS)
    for batch in parts:
        outcome = judge(module, run_unbounded, batch, budget, seed=seed)
        images += len(outcome.right)
        fooled += int((~outcome.right).sum())
        by_chance += int((~judge(module, _chance, batch, budget, seed=seed, gradients=False).right).sum())
    described = f"apgd-ce and apgd-dlr, {UNBOUNDED_STEPS} steps each, every pixel free in [0, 1]"
    return UnboundedTrial(perturbation=described, images=images, fooled=fooled, by_chance=by_chance)


def _chance(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    return random_start(target.images[rows], target.budget, draws)


def slopes(module: nn.Module, batch: Batch, noise: float) -> SlopeTrial:
    """Whether small steps along the sign of the loss's gradient raise the loss, as they must where it is one.

    The loss is `log_odds`, compared between both ends of a step of 1/1020, 1/255 and 4/255 to either side, inside
    [0, 1]. An image is downhill where the loss fell for at least one of them and rose for none. The same is asked of
    parts of the gradient, each channel and eight groups of pixels, but only where the loss is close to linear there:
    the gradients of rounding operations are stand-ins, right on the whole and not in every part.

    Source: the idea of a gradient check by central differences is old; parts, steps and limits are ours.

    Args:
        batch: images that the model classifies right.
        noise: difference of two forwards of the same images, relative to the largest logit.

    Cost: a forward and a backward an image, and 6 + 4 (C + 8) forwards, C channels where there are 2 to 4, else 0.
    """
    with torch.inference_mode(False), preserved(module):
        images, labels = batch.images.clone(), batch.labels.clone()
        target = Target(module, images, labels, Budget("linf", max(SLOPE_STEPS), steps=1))
        rows = torch.arange(len(images), device=images.device)
        gradient, _ = target.gradient(images, rows, log_odds)
        direction = gradient.sign()
        with torch.no_grad():
            logits = module(images).float()
        largest = logits.masked_fill(~logits.isfinite(), 0.0).abs().amax(1).double()
        tolerance = max(SLOPE_ROUNDING, NOISE_FACTOR * noise) * largest
        whole = _rises(module, images, labels, direction, SLOPE_STEPS)
        fell, rose = (whole < -tolerance).any(0), (whole > tolerance).any(0)
        smooth = parts_downhill = 0
        masks = _parts(images)
        for mask in masks:
            near, far = _rises(module, images, labels, direction * mask, SLOPE_STEPS[:2])
            linear = (far * SLOPE_STEPS[0] / (near * SLOPE_STEPS[1]) - 1).abs() <= CURVATURE
            linear &= (near.abs() > tolerance) & (far.abs() > tolerance)
            smooth += int(linear.sum())
            parts_downhill += int((linear & (near < 0)).sum())
    return SlopeTrial(
        images=len(images),
        tested=int((fell | rose).sum()),
        downhill=int((fell & ~rose).sum()),
        tiny=int((target.largest < STRONG).sum()),
        parts=len(images) * len(masks),
        smooth=smooth,
        parts_downhill=parts_downhill,
    )


def joined(trials: Sequence[SlopeTrial]) -> SlopeTrial:
    """The sums of trials on several batches."""
    counts = {name: sum(getattr(trial, name) for trial in trials) for name in SlopeTrial.model_fields}
    return SlopeTrial(**counts)


def _rises(module: nn.Module, images: Tensor, labels: Tensor, direction: Tensor, steps: Sequence[float]) -> Tensor:
    """[S, N] how much higher the loss is ahead than behind, for each length of step; 0 where it is not finite."""
    found = []
    for step in steps:
        ends = [(images + side * step * direction).clamp(0.0, 1.0) for side in (1, -1)]
        with torch.no_grad():
            ahead, behind = (log_odds(module(end).float(), labels, labels) for end in ends)
        found.append((ahead - behind).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))
    return torch.stack(found)


def _parts(images: Tensor) -> list[Tensor]:
    """Masks [1, ...]: each of 2 to 4 channels, and groups of pixels drawn once and for all."""
    shape = images.shape[1:]
    masks = []
    if len(shape) == 3 and 2 <= shape[0] <= 4:
        for channel in range(shape[0]):
            mask = torch.zeros(1, *shape)
            mask[:, channel] = 1.0
            masks.append(mask)
    group = torch.randint(0, PIXEL_GROUPS, shape, generator=torch.Generator().manual_seed(0))
    masks += [(group == number).float()[None] for number in range(PIXEL_GROUPS)]
    return [mask.to(images.device) for mask in masks]
