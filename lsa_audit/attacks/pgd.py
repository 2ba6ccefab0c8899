"""Projected gradient descent (ascent on the loss), also on the relative error of a layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from . import PGD_STEP_SHARE
from .draws import Draws
from .norms import Ball, random_start, steepest
from .target import Target
from .target_classes import positions

Gradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def run(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """Steps along the gradient of the cross-entropy from a random start, each projected into the ball and [0, 1].

    Update: x <- project(x + step_size * steepest(g)), `steps` times.
    Source: Madry et al., "Towards deep learning models resistant to adversarial attacks", 2017, arXiv 1706.06083.
    Differs from the source: the default step size is epsilon / 4, whatever the number of steps (the source's own choice
    for CIFAR-10: 2/255 at 8/255); on three nets it was never weaker than 2.5 * epsilon / steps by more than 0.1 points,
    and stronger by up to 3. Images that are fooled leave the batch unless the whole budget is to be spent.

    Args:
        target: the model as the judge lends it.
        rows: [n] which images of the batch to perturb.
        draws: one generator for each of `rows`.

    Returns:
        Images [n, ...] inside the ball and [0, 1].

    Cost: `steps` forwards and backwards an image. Random: one draw an image, the start.
    """
    return _ascend(target, rows, draws, target.gradient)


def run_layer(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """The same on the relative error of one layer, ||phi(x') - phi(x)|| / ||phi(x)||: how far it can be pushed.

    The measure is that of Khalooei et al., arXiv 2202.02626; to attack it is an addition of ours. The verdicts are the
    classifier's, as for every attack.

    Raises:
        ValueError: the judge was not given a view of a layer.

    Cost: as `run`, and one forward an image for the clean activation.
    """
    return _ascend(target, rows, draws, target.layer_gradient)


def _ascend(target: Target, rows: Tensor, draws: Draws, gradient: Gradient) -> Tensor:
    budget = target.budget
    step_size = PGD_STEP_SHARE * budget.epsilon if budget.step_size is None else budget.step_size
    ball = Ball(target.images[rows], budget)
    current = random_start(ball.images, budget, draws)
    ended, places = current.clone(), torch.arange(len(rows), device=rows.device)
    value: Tensor | None = None
    for _ in range(budget.steps):
        active = target.active(rows)
        if len(active) < len(rows):
            ended[places] = current
            kept = positions(active, rows)
            rows, places, current, ball = active, places[kept], current[kept], ball.of(kept)
            value = None if value is None else value[kept]
        if not len(rows):
            break
        slope, found = gradient(current, rows)
        if value is not None:
            target.climbed(rows, found > value)
        value = found
        # An image fooled by this very query still takes the step; the judge has kept the query.
        current = ball.project(current + step_size * steepest(slope, budget.norm))
    ended[places] = current
    return ended
