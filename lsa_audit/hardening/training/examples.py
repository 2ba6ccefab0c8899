"""How each base attack makes the perturbed images of a training step.

All of them query the trainee as in evaluation, with the running statistics of its batch norms, so that an image's
perturbation does not depend on the others in its batch, and queries leave no trace in the statistics. Sizes of steps
follow epsilon while it warms up.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...attacks.apgd import Aim, search
from ...attacks.budget import Budget
from ...attacks.draws import Draws
from ...attacks.norms import TINY, Ball, lengths, project, random_start, steepest
from ...attacks.objectives import cross_entropy
from ...attacks.target import Target
from ...graph.training import TrainedGraph
from ...records import Norm
from ...settings.recipe import Recipe
from .base import Examples, State, TrainingBatch, input_gradient
from .objectives import divergence

NEAR = 1e-3
"""Spread of the start of TRADES: at the clean image itself the divergence has no gradient."""
SMALLEST_DRAW = 2.0**-25
"""Half of float32's step below 1: a drawn 0 would be minus infinity as a normal number."""


class Clean(Examples):
    """The images as they are."""

    def perturb(self, trainee: TrainedGraph, batch: TrainingBatch) -> Tensor:  # noqa: ARG002 - the contract of examples
        """The images [N, ...] of the batch. Cost: none."""
        return batch.images


class Pgd(Examples):
    """Projected steps up the cross-entropy from a random start; with one step of 1.25 epsilon the fast method.

    Update: x' = random in the ball; `attack_steps` times x' <- project(x' + step * steepest(g)).
    Source: Madry et al., 2017, arXiv 1706.06083 (several steps); Wong, Rice, Kolter, "Fast is better than free", ICLR
    2020, arXiv 2001.03994 (one step); the attack of MART, ICLR 2020 rklOg6EFwS, is PGD too.
    Differs from the source: the queries run as in evaluation, where the first two sources run them as in training; the
    l2 form is the usual generalisation; MART starts at the image plus normal noise of 0.001.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def perturb(self, trainee: TrainedGraph, batch: TrainingBatch) -> Tensor:
        """Images [N, ...] in the ball and in [0, 1]. Cost: `attack_steps` forwards and backwards an image."""
        budget = budget_of(self._recipe, batch)
        start = random_start(batch.images, budget, _Drawn(batch))

        def loss(images: Tensor) -> Tensor:
            return functional.cross_entropy(_logits(trainee, images), batch.labels, reduction="none")

        return _ascend(start, loss, Ball(batch.images, budget), step_size(self._recipe, batch))


class Kl(Examples):
    """Projected steps up the divergence of the predictions from those on the clean image.

    Update: x' = project(x + 0.001 normal); `attack_steps` times x' <- project(x' + step * steepest(g)) with g the
    gradient of KL(p(x) || p(x')).
    Source: Zhang et al., "Theoretically principled trade-off between robustness and accuracy" (TRADES), ICML 2019,
    arXiv 1901.08573.
    Differs from the source: l2 takes the same steps as linf, along the normalised gradient.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def perturb(self, trainee: TrainedGraph, batch: TrainingBatch) -> Tensor:
        """Images [N, ...] in the ball and in [0, 1].

        Cost: `attack_steps` forwards and backwards an image, and one forward on the clean one.
        """
        ball = Ball(batch.images, budget_of(self._recipe, batch))
        start = ball.project(batch.images + NEAR * _Drawn(batch).normal(batch.images))
        with torch.no_grad():
            clean = _logits(trainee, batch.images)

        def moved(images: Tensor) -> Tensor:
            return divergence(clean, _logits(trainee, images))

        return _ascend(start, moved, ball, step_size(self._recipe, batch))


class Apgd(Examples):
    """Auto-PGD on the cross-entropy: steps with momentum whose size halves when progress stalls.

    Source: Croce, Hein, ICML 2020, arXiv 2003.01690; see `attacks.apgd.search`.
    Differs from the source: few steps, and none is saved on images that have fallen.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def perturb(self, trainee: TrainedGraph, batch: TrainingBatch) -> Tensor:
        """The images [N, ...] of the highest loss met. Cost: `attack_steps` + 1 forwards and backwards an image."""
        target = Target(_Queried(trainee), batch.images, batch.labels, budget_of(self._recipe, batch))
        rows = torch.arange(len(batch.images), device=batch.images.device)
        return search(target, rows, _Drawn(batch), Aim(cross_entropy))


class Free(Examples):
    """One perturbation that stays from batch to batch and takes a step with each gradient that trains the weights.

    Each batch is trained on `replays` times. After each, delta <- project(delta + step * steepest(g)), with g the
    gradient by the perturbed images of the very backward that trained the weights.
    Source: Shafahi et al., "Adversarial training for free!", NeurIPS 2019, arXiv 1904.12843.
    Differs from the source: g is taken after the cut to [0, 1], so pixels at the border move too; the l2 form is ours.
    """

    learns = True

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._delta: Tensor | None = None
        self.replays = recipe.attack_steps

    def perturb(self, trainee: TrainedGraph, batch: TrainingBatch) -> Tensor:  # noqa: ARG002 - the contract of examples
        """The images [N, ...] moved by what the last batch left, in the ball and in [0, 1]. Cost: none."""
        delta = self._of(batch)
        return project(batch.images + delta, batch.images, budget_of(self._recipe, batch))

    def after(self, gradient: Tensor, batch: TrainingBatch) -> None:
        """Take the step, given the gradient [N, ...] of the loss by what `perturb` gave for this batch."""
        norm = self._recipe.norm
        gradient = gradient.detach().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        delta = self._of(batch)
        moved = delta + step_size(self._recipe, batch) * steepest(gradient, norm)
        # In place: a smaller batch leaves the rest as it is.
        delta.copy_(_shrunk(moved, norm, batch.epsilon))

    def state(self) -> State:
        """What a checkpoint must hold."""
        return {"delta": self._delta}

    def load(self, state: State) -> None:
        """Go on from there."""
        delta = state["delta"]
        self._delta = None if delta is None else delta.clone()

    def _of(self, batch: TrainingBatch) -> Tensor:
        if self._delta is None or len(self._delta) < len(batch.images):
            self._delta = torch.zeros_like(batch.images)
        # A checkpoint is read on the CPU.
        self._delta = self._delta.to(batch.images.device)
        return self._delta[: len(batch.images)]


class _Drawn(Draws):
    """The random numbers of a batch, in the form that random starts take."""

    def __init__(self, batch: TrainingBatch) -> None:
        super().__init__(0, (), "")
        self._batch = batch

    def uniform(self, like: Tensor) -> Tensor:
        return self._batch.draw("start", tuple(like.shape))

    def normal(self, like: Tensor) -> Tensor:
        drawn = self._batch.draw("direction", tuple(like.shape)).clamp_min(SMALLEST_DRAW)
        normal: Tensor = torch.special.ndtri(drawn)
        return normal


class _Queried(nn.Module):
    """The trainee in the form that attacks query."""

    def __init__(self, trainee: TrainedGraph) -> None:
        super().__init__()
        self._trainee = trainee

    def forward(self, images: Tensor) -> Tensor:
        return _logits(self._trainee, images)


def budget_of(recipe: Recipe, batch: TrainingBatch) -> Budget:
    """What the attack may spend at this step of the training."""
    return Budget(recipe.norm, batch.epsilon, recipe.attack_steps, step_size(recipe, batch), spend_all=True)


def step_size(recipe: Recipe, batch: TrainingBatch) -> float:
    """Of the attack at this step of the training, in pixel units."""
    return recipe.attack_step_size * batch.epsilon / recipe.epsilon


def _ascend(start: Tensor, values: Callable[[Tensor], Tensor], ball: Ball, step: float) -> Tensor:
    current = start
    for _ in range(ball.budget.steps):
        leaf = current.requires_grad_()
        gradient = input_gradient(values(leaf), leaf)
        current = ball.project(leaf.detach() + step * steepest(gradient, ball.budget.norm))
    return current


def _shrunk(delta: Tensor, norm: Norm, epsilon: float) -> Tensor:
    """The nearest perturbations of that length, whatever image they are for."""
    if norm == "linf":
        return delta.clamp(-epsilon, epsilon)
    return delta * (epsilon / lengths(delta, norm).clamp_min(TINY)).clamp_max(1.0)


def _logits(trainee: TrainedGraph, images: Tensor) -> Tensor:
    """As in evaluation, [N, K] float32 whatever the precision of the forward."""
    return trainee.logits(images).float()
