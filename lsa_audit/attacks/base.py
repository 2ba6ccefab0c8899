"""The judge: runs an attack on a batch, and alone decides which images were fooled.

An attack only proposes images. The judge watches every image that the attack sends through the model, keeps the first
one that is misclassified inside the budget, and re-runs the model on what it kept before it gives a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import DataError
from ..models.state import preserved
from .budget import Budget
from .draws import Draws
from .norms import column, inside, project
from .objectives import Objective, cross_entropy


class Target:
    """The model as an attack sees it: it answers with logits and gradients, counts, and remembers what fooled it.

    `rows` name the images of the batch to which the given ones belong; an attack that works on a part of the batch says
    so with them.
    """

    def __init__(self, module: nn.Module, images: Tensor, labels: Tensor, budget: Budget) -> None:
        self.module = module
        self.images = images
        self.labels = labels
        self.budget = budget
        self.forwards = 0
        self.backwards = 0
        self.fooled = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        self.moved = self.fooled.clone()
        self.best = images.clone()

    def active(self, rows: Tensor) -> Tensor:
        """Those of `rows` that still need work: all of them when the whole budget is to be spent."""
        return rows if self.budget.spend_all else rows[~self.fooled[rows]]

    def logits(self, images: Tensor, rows: Tensor) -> Tensor:
        """Logits [N, K] without gradients."""
        with torch.no_grad():
            logits: Tensor = self.module(images)
        self.forwards += len(images)
        self._observe(images, logits, rows)
        return logits

    def gradient(
        self, images: Tensor, rows: Tensor, objective: Objective = cross_entropy, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Gradient of each image's objective with respect to that image, and the objectives [N].

        They are summed, so a gradient does not depend on the batch size; entries that are not finite become 0.
        Targets [N] are classes; None: the labels.
        Cost: one forward and one backward an image; no gradients of parameters.
        """
        with torch.enable_grad():
            leaf = images.detach().requires_grad_(True)
            logits = self.module(leaf)
            labels = self.labels[rows]
            losses = objective(logits, labels, labels if targets is None else targets)
            gradient = torch.autograd.grad(losses.sum(), leaf, allow_unused=True)[0] if losses.requires_grad else None
        self.forwards += len(images)
        self.backwards += len(images)
        self._observe(images, logits.detach(), rows)
        if gradient is None:
            return torch.zeros_like(images), losses.detach()
        gradient = gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        self.moved[rows] |= gradient.flatten(1).abs().amax(1) > 0
        return gradient, losses.detach()

    def _observe(self, images: Tensor, logits: Tensor, rows: Tensor) -> None:
        """Keep the first image of each row that is misclassified and inside the ball."""
        wrong = logits.argmax(1) != self.labels[rows]
        new = wrong & ~self.fooled[rows] & inside(images, self.images[rows], self.budget)
        self.best[rows[new]] = images[new].detach()
        self.fooled[rows[new]] = True


Attack = Callable[[Target, Tensor, Draws], Tensor]
"""`run(target, rows, draws) -> images`: proposes a perturbed image for each of `rows` of `target.images`."""


@dataclass(frozen=True)
class Outcome:
    """The judge's verdicts on one batch of N images.

    Attributes:
        right: [N] bool, the model still gives the label on the image that was judged.
        adversarial: [N, ...] the images that were judged: the first fooling one where there is one, else the last.
        final: [N, ...] what the first run ended with; with `spend_all` every image has had the same number of steps.
        nonfinite: [N] bool, the judged logits are not finite (never right).
        zero_gradient: [N] bool, right, but no gradient was ever finite and non-zero: the image was not attacked.
        forwards, backwards: images sent through, the judge's own forward included.
    """

    right: Tensor
    adversarial: Tensor
    final: Tensor
    nonfinite: Tensor
    zero_gradient: Tensor
    forwards: int
    backwards: int


@dataclass(frozen=True)
class Batch:
    """Images [N, ...] float32 in [0, 1], labels [N] int64, and the ids that seed the images' generators."""

    images: Tensor
    labels: Tensor
    image_ids: tuple[str, ...]


def judge(
    module: nn.Module, attack: Attack, batch: Batch, budget: Budget, *, seed: int, gradients: bool = True
) -> Outcome:
    """Attack one batch and judge the result in float32.

    Args:
        module: pixels to logits; left exactly as it was (see `models.state.preserved`).
        gradients: whether the attack uses gradients; if so, verdicts reached without any are reported.

    Raises:
        DataError: images that are not float32, not finite or outside [0, 1].

    Cost: the attack's own, and one forward an image. Random: one generator an image and restart, from `seed`.
    """
    check_images(batch.images)
    with torch.inference_mode(False), preserved(module):
        batch = _without_inference(batch)
        target = Target(module, batch.images, batch.labels, budget)
        rows = torch.arange(len(batch.images), device=batch.images.device)
        final = batch.images
        for restart in range(budget.restarts):
            if restart == 1:
                target.budget = replace(budget, spend_all=False)
            rows = target.active(rows) if restart else rows
            if not len(rows):
                break
            draws = Draws(seed, [batch.image_ids[row] for row in rows.tolist()], f"restart {restart}")
            proposed = within(attack(target, rows, draws), batch.images[rows], budget)
            if restart == 0:
                final = proposed
            if budget.restarts > 1:
                target.logits(proposed, rows)
        adversarial = torch.where(column(target.fooled, final), target.best, final)
        with torch.no_grad():
            logits = module(adversarial)
    finite = torch.isfinite(logits).all(1)
    right = finite & (logits.argmax(1) == batch.labels)
    unattacked = right & ~target.moved if gradients else torch.zeros_like(right)
    return Outcome(right, adversarial, final, ~finite, unattacked, target.forwards + len(final), target.backwards)


def check_images(images: Tensor) -> None:
    """Refuse what the threat model does not cover.

    Raises:
        DataError: images that are not float32, not finite or outside [0, 1].
    """
    if images.dtype != torch.float32:
        raise DataError(f"images are {images.dtype}, not float32", "convert them")
    low, high = torch.aminmax(images)
    if not (low >= 0 and high <= 1):
        hint = "normalisation belongs inside the model: give pixels and --mean/--std"
        raise DataError(f"images span {low:.4g} to {high:.4g}, not [0, 1]", hint)


def within(proposed: Tensor, images: Tensor, budget: Budget) -> Tensor:
    """The proposals, clipped into the ball and into [0, 1]; a pixel that is not finite falls back to the clean one."""
    return project(torch.where(torch.isfinite(proposed), proposed, images).detach(), images, budget)


def _without_inference(batch: Batch) -> Batch:
    """Tensors made under inference_mode cannot take gradients; copies of them can."""
    images, labels = (tensor.clone() if tensor.is_inference() else tensor for tensor in (batch.images, batch.labels))
    return Batch(images, labels, batch.image_ids)
