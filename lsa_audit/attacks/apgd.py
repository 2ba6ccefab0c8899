"""Auto-PGD: projected gradient steps with momentum whose size halves when progress stalls."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Target
from .budget import Budget
from .draws import Draws
from .norms import column, project, random_start, steepest

MOMENTUM = 0.75
REQUIRED_RISES = 0.75
FIRST_WINDOW, WINDOW_SHRINK, SMALLEST_WINDOW = 0.22, 0.03, 0.06


@dataclass
class _Search:
    """State of n images; every tensor's first dimension is the image."""

    current: Tensor
    previous: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    gradient: Tensor
    loss: Tensor
    step_size: Tensor
    rises: Tensor
    best_at_checkpoint: Tensor
    halved_at_checkpoint: Tensor


def run_ce(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """APGD on the cross-entropy: the image of highest loss that the search met.

    Update: z = project(x + step * steepest(g)); x <- project(x + 0.75 (z - x) + 0.25 (x - x_previous)); at checkpoints
    the step halves where fewer than 0.75 of the steps raised the loss, or where neither the step nor the best loss has
    changed since the last checkpoint, and the search goes on from the best image.
    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks", ICML 2020, arXiv 2003.01690, Algorithm 1, conditions 1 and 2; first step 2 * epsilon.
    Differs from the source: the l2 start is uniform in the ball; a step size in the budget replaces the first one.

    Args:
        target: the model as the judge lends it.
        rows: [n] which images of the batch to perturb.
        draws: one generator for each of `rows`.

    Returns:
        Images [n, ...] inside the ball and [0, 1].

    Cost: `steps` + 1 forwards and backwards an image. Random: one draw an image, the start.
    """
    budget = target.budget
    images = target.images[rows]
    search = _begin(random_start(images, budget, draws), rows, target)
    checkpoints = checkpoint_steps(budget.steps)
    last = 0
    for step in range(budget.steps):
        working = _positions(target.active(rows), rows)
        if not len(working):
            break
        _advance(search, working, rows, images, target, first=step == 0)
        if step + 1 in checkpoints:
            _review(search, step + 1 - last)
            last = step + 1
    return search.best


def checkpoint_steps(steps: int) -> tuple[int, ...]:
    """The steps after which progress is reviewed: p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06).

    >>> checkpoint_steps(100)
    (22, 41, 57, 70, 80, 87, 93, 99)
    """
    points, window, position = [], FIRST_WINDOW, FIRST_WINDOW
    while position <= 1 + 1e-9:
        # The guard keeps 0.57 * 100 = 56.99... from becoming 58 through ceil's neighbour.
        points.append(-int(-(position * steps - 1e-9) // 1))
        window = max(window - WINDOW_SHRINK, SMALLEST_WINDOW)
        position += window
    return tuple(sorted(set(points)))


def _begin(start: Tensor, rows: Tensor, target: Target) -> _Search:
    gradient, loss = target.gradient(start, rows)
    budget = target.budget
    first_step = 2 * budget.epsilon if budget.step_size is None else budget.step_size
    return _Search(
        current=start,
        previous=start.clone(),
        best=start.clone(),
        best_gradient=gradient.clone(),
        best_loss=loss.clone(),
        gradient=gradient,
        loss=loss,
        step_size=torch.full_like(loss, first_step),
        rises=torch.zeros_like(loss),
        best_at_checkpoint=loss.clone(),
        halved_at_checkpoint=torch.ones_like(loss, dtype=torch.bool),
    )


def _advance(search: _Search, working: Tensor, rows: Tensor, images: Tensor, target: Target, *, first: bool) -> None:
    budget = target.budget
    current, previous = search.current[working], search.previous[working]
    proposed = _step(search, working, current, images[working], budget)
    momentum = 1.0 if first else MOMENTUM
    moved = project(
        current + momentum * (proposed - current) + (1 - momentum) * (current - previous), images[working], budget
    )
    gradient, loss = target.gradient(moved, rows[working])
    search.previous[working], search.current[working] = current, moved
    search.gradient[working] = gradient
    search.rises[working] += (loss > search.loss[working]).to(loss.dtype)
    search.loss[working] = loss
    better = working[loss > search.best_loss[working]]
    search.best[better] = search.current[better]
    search.best_gradient[better] = search.gradient[better]
    search.best_loss[better] = search.loss[better]


def _step(search: _Search, working: Tensor, current: Tensor, images: Tensor, budget: Budget) -> Tensor:
    size = column(search.step_size[working], current)
    return project(current + size * steepest(search.gradient[working], budget.norm), images, budget)


def _review(search: _Search, window: int) -> None:
    """Halve the step where progress stalled, and send those images back to their best point."""
    too_few_rises = search.rises < REQUIRED_RISES * window
    stuck = ~search.halved_at_checkpoint & (search.best_loss <= search.best_at_checkpoint)
    halve = too_few_rises | stuck
    search.halved_at_checkpoint = halve
    search.best_at_checkpoint = search.best_loss.clone()
    search.rises.zero_()
    search.step_size[halve] /= 2
    search.current[halve] = search.best[halve]
    search.gradient[halve] = search.best_gradient[halve]


def _positions(active: Tensor, rows: Tensor) -> Tensor:
    """Where the active rows of the batch stand in `rows`."""
    return torch.isin(rows, active).nonzero().flatten()
