"""Auto-PGD: projected gradient steps with momentum whose size halves when progress stalls."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .draws import Draws
from .norms import Ball, column, random_start, steepest
from .objectives import Objective, cross_entropy, dlr, targeted_dlr
from .target import Target
from .target_classes import CLASSES, likely_classes, positions

MOMENTUM = 0.75
REQUIRED_RISES = 0.75
FIRST_WINDOW, WINDOW_SHRINK, SMALLEST_WINDOW = 0.22, 0.03, 0.06


@dataclass
class _Search:
    """State of the n images that are still worked on; every tensor's first dimension is the image."""

    places: Tensor
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

    def keep(self, kept: Tensor) -> _Search:
        """The state of some of the images, by position."""
        return _Search(**{entry.name: getattr(self, entry.name)[kept] for entry in fields(self)})


@dataclass(frozen=True)
class Aim:
    """What a search raises: the objective, and for a targeted one the class of each of its rows."""

    objective: Objective
    classes: Tensor | None = None

    def of(self, kept: Tensor) -> Aim:
        """The aim of some of the rows, by position."""
        return self if self.classes is None else replace(self, classes=self.classes[kept])


@dataclass(frozen=True)
class _Problem:
    """What a step looks at: the rows that are still worked on, their balls, and their aim."""

    target: Target
    aim: Aim
    ball: Ball
    rows: Tensor

    def gradient(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        return self.target.gradient(moved, self.rows, self.aim.objective, self.aim.classes)

    def keep(self, kept: Tensor) -> _Problem:
        return _Problem(self.target, self.aim.of(kept), self.ball.of(kept), self.rows[kept])


def run_ce(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """APGD on the cross-entropy; see `search`."""
    return search(target, rows, draws, Aim(cross_entropy))


def run_dlr(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """APGD on the difference of logits ratio (`objectives.dlr`); see `search`."""
    return search(target, rows, draws, Aim(dlr))


def run_targeted(target: Target, rows: Tensor, draws: Draws, *, classes: int = CLASSES) -> Tensor:
    """APGD on the targeted ratio (`objectives.targeted_dlr`), towards each of up to `classes` likely ones in turn.

    Source: arXiv 2003.01690, section 4. Returns what the search towards the likeliest class ended with; an image that
    fell on the way to another one is kept by the judge.

    Cost: up to `classes` x (`steps` + 1) forwards and backwards an image, and one forward. Random: one draw a class and
    image.
    """
    first, left = None, torch.arange(len(rows), device=rows.device)
    for aims in likely_classes(target, rows, classes).unbind(1):
        images = search(target, rows[left], draws.of(left.tolist()), Aim(targeted_dlr, aims[left]))
        first = images if first is None else first
        left = positions(rows[~target.fooled[rows]], rows)
        if not len(left):
            break
    return target.images[rows] if first is None else first


def search(target: Target, rows: Tensor, draws: Draws, aim: Aim, start: Tensor | None = None) -> Tensor:
    """APGD: the image of the highest objective that the search met.

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
        aim: what is raised.
        start: [n, ...] where to begin; None: at random in the ball.

    Returns:
        Images [n, ...] inside the ball and [0, 1].

    Cost: `steps` + 1 forwards and backwards an image. Random: one draw an image, the start, unless it is given.
    """
    scene = _Problem(target, aim, Ball(target.images[rows], target.budget), rows)
    state = _begin(random_start(scene.ball.images, target.budget, draws) if start is None else start, scene)
    ended = state.best.clone()
    checkpoints = checkpoint_steps(target.budget.steps)
    last = 0
    for step in range(target.budget.steps):
        active = target.active(scene.rows)
        if len(active) < len(scene.rows):
            ended[state.places] = state.best
            kept = positions(active, scene.rows)
            scene, state = scene.keep(kept), state.keep(kept)
        if not len(active):
            break
        _advance(state, scene, first=step == 0)
        if step + 1 in checkpoints:
            _review(state, step + 1 - last)
            last = step + 1
    ended[state.places] = state.best
    return ended


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


def _begin(start: Tensor, scene: _Problem) -> _Search:
    gradient, loss = scene.gradient(start)
    budget = scene.target.budget
    first_step = 2 * budget.epsilon if budget.step_size is None else budget.step_size
    return _Search(
        places=torch.arange(len(start), device=start.device),
        current=start,
        previous=start,
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


def _advance(search: _Search, scene: _Problem, *, first: bool) -> None:
    current, ball = search.current, scene.ball
    size = column(search.step_size, current)
    moved = ball.project(torch.addcmul(current, size, steepest(search.gradient, ball.budget.norm)))
    if not first:
        inertia = 1 - MOMENTUM
        ahead = torch.lerp(current, moved, MOMENTUM).add_(current, alpha=inertia).sub_(search.previous, alpha=inertia)
        moved = ball.project(ahead)
    gradient, loss = scene.gradient(moved)
    rose = loss > search.loss
    scene.target.climbed(scene.rows, rose)
    search.previous, search.current = current, moved
    search.gradient, search.loss = gradient, loss
    search.rises += rose
    better = (loss > search.best_loss).nonzero().flatten()
    search.best[better] = moved[better]
    search.best_gradient[better] = gradient[better]
    search.best_loss[better] = loss[better]


def _review(search: _Search, window: int) -> None:
    """Halve the step where progress stalled, and send those images back to their best point."""
    too_few_rises = search.rises < REQUIRED_RISES * window
    stuck = ~search.halved_at_checkpoint & (search.best_loss <= search.best_at_checkpoint)
    halve = too_few_rises | stuck
    search.halved_at_checkpoint = halve
    search.best_at_checkpoint = search.best_loss.clone()
    search.rises.zero_()
    search.step_size[halve] /= 2
    back = column(halve, search.current)
    search.current = search.best.where(back, search.current)
    search.gradient = search.best_gradient.where(back, search.gradient)
