"""Square attack: random search that needs nothing but the model's scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .draws import Draws
from .norms import TINY, Ball
from .objectives import margin
from .target import Target
from .target_classes import positions

FIRST_SHARE = 0.8
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After these of 10,000 queries (in proportion for another number) the share of the pixels that change is halved."""
SMALLEST_BUMP = 3
TILES = 5
PLACES = 5
"""Numbers that a step draws beside one sign a channel: two windows, and which way the bumps lie."""


def run(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """Random search over squares of shrinking size; a change is kept where it lowers the margin of the label.

    linf: the square moves by epsilon, with one sign a channel. l2: the square takes over the length of another one, as
    two opposite bumps.
    Source: Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random search",
    ECCV 2020, arXiv 1912.00049, Algorithms 1 to 3, with p = 0.8.
    Differs from the source: a feature vector is an image of one row; a window never exceeds the image.

    Args:
        target: the model as the judge lends it; the budget's steps are the queries after the start.
        rows: [n] which images of the batch to perturb.
        draws: one generator for each of `rows`.

    Returns:
        Images [n, ...] inside the ball and [0, 1].

    Cost: `steps` + 1 forwards an image, no backward; 4 (C + 5) bytes a step and image for what is drawn at the start.
    Random: one block of draws an image.
    """
    budget = target.budget
    start, move = (_stripes, _move_square) if budget.norm == "linf" else (_bump_grid, _move_length)
    ball = Ball(_as_maps(target.images[rows]), budget)
    best = ball.project(start(ball.images, draws, budget.epsilon))
    margins = _margins(target, best, rows)
    numbers = draws.uniform(best.new_empty(len(best), budget.steps, best.shape[1] + PLACES))
    ended, places = best.clone(), torch.arange(len(rows), device=rows.device)
    for step in range(budget.steps):
        active = target.active(rows)
        if len(active) < len(rows):
            ended[places] = best
            kept = positions(active, rows)
            rows, places, ball, numbers = active, places[kept], ball.of(kept), numbers[kept]
            best, margins = best[kept], margins[kept]
        if not len(rows):
            break
        tried = move(ball, best, numbers[:, step], _share(step, budget.steps))
        found = _margins(target, tried, rows)
        better = (found < margins).nonzero().flatten()
        if len(better):
            best[better] = tried[better]
            margins = torch.minimum(margins, found)
    ended[places] = best
    return ended.view(len(ended), *target.images.shape[1:])


def _as_maps(images: Tensor) -> Tensor:
    return images if images.dim() == 4 else images.reshape(len(images), 1, 1, -1)


def _margins(target: Target, maps: Tensor, rows: Tensor) -> Tensor:
    """Logit of the label minus the largest other one, [n]."""
    logits = target.logits(maps.view(len(maps), *target.images.shape[1:]), rows)
    labels = target.labels_of(rows)
    return margin(logits, labels, labels)


def _share(step: int, steps: int) -> float:
    progress = int(step / steps * 10_000)
    return FIRST_SHARE / 2.0 ** sum(progress > halving for halving in HALVINGS)


def _signs(numbers: Tensor) -> Tensor:
    return torch.where(numbers < 0.5, -1.0, 1.0)


@dataclass(frozen=True)
class _Window:
    """One rectangle an image, all of the same size; `top` and `left` are [n]."""

    top: Tensor
    left: Tensor
    height: int
    width: int

    @classmethod
    def draw(cls, maps: Tensor, side: int, numbers: Tensor) -> _Window:
        """At a place that the two numbers of each image [n, 2] choose."""
        height, width = min(side, maps.shape[2]), min(side, maps.shape[3])
        free = torch.tensor([maps.shape[2] - height + 1, maps.shape[3] - width + 1], device=maps.device)
        top, left = (numbers * free).long().unbind(1)
        return cls(top, left, height, width)

    def mask(self, maps: Tensor) -> Tensor:
        """Where the window lies, [n, 1, H, W] bool."""
        down = torch.arange(maps.shape[2], device=maps.device) - self.top[:, None]
        across = torch.arange(maps.shape[3], device=maps.device) - self.left[:, None]
        inside = ((down >= 0) & (down < self.height))[:, :, None] & ((across >= 0) & (across < self.width))[:, None, :]
        return inside[:, None]

    def place(self, maps: Tensor, values: Tensor) -> Tensor:
        """A copy of the maps with `values` [n, C, height, width] in the window."""
        copy = maps.clone()
        copy[self._where] = values.permute(0, 2, 3, 1)
        return copy

    def cut(self, maps: Tensor) -> Tensor:
        """The window of each image, [n, C, height, width]."""
        return maps[self._where].permute(0, 3, 1, 2)

    @cached_property
    def _where(self) -> tuple[Tensor, slice, Tensor, Tensor]:
        """Index of the windows; indexed dimensions around a slice come first: [n, height, width, C]."""
        device = self.top.device
        images = torch.arange(len(self.top), device=device)[:, None, None]
        down = (self.top[:, None] + torch.arange(self.height, device=device))[:, :, None]
        across = (self.left[:, None] + torch.arange(self.width, device=device))[:, None, :]
        return images, slice(None), down, across


def _stripes(clean: Tensor, draws: Draws, epsilon: float) -> Tensor:
    """Vertical stripes of random sign, one a column and channel."""
    count, channels, _, width = clean.shape
    numbers = draws.uniform(clean.new_empty(count, channels, 1, width))
    return clean + epsilon * _signs(numbers)


def _move_square(ball: Ball, best: Tensor, numbers: Tensor, share: float) -> Tensor:
    """The window's pixels go to one side of the ball, channel by channel."""
    side = max(round(math.sqrt(share * best.shape[2] * best.shape[3])), 1)
    window = _Window.draw(best, side, numbers[:, :2])
    moved = window.cut(ball.images) + ball.budget.epsilon * _signs(numbers[:, PLACES:])[:, :, None, None]
    return window.place(best, moved.clamp_(0.0, 1.0))


def _bump_grid(clean: Tensor, draws: Draws, epsilon: float) -> Tensor:
    """A grid of bumps, each with random signs and lying one way or the other, of length epsilon in all."""
    count, channels, height, width = clean.shape
    tall, wide = max(height // TILES, 1), max(width // TILES, 1)
    down, across = height // tall, width // wide
    numbers = draws.uniform(clean.new_empty(count, down, across, channels + 1))
    delta = torch.zeros_like(clean)
    for i in range(down):
        for j in range(across):
            bumps = _bumps(tall, wide, numbers[:, i, j, 0]) * _signs(numbers[:, i, j, 1:])[:, :, None, None]
            delta[:, :, i * tall : (i + 1) * tall, j * wide : (j + 1) * wide] = bumps
    return clean + epsilon * delta / _length(delta)


def _move_length(ball: Ball, best: Tensor, numbers: Tensor, share: float) -> Tensor:
    """Two bumps in the first window, with the length that the second one, emptied, and the rest of the ball give."""
    clean, epsilon, channels = ball.images, ball.budget.epsilon, best.shape[1]
    side = max(round(math.sqrt(share * clean.shape[2] * clean.shape[3])), SMALLEST_BUMP)
    side += 1 - side % 2
    delta = best - clean
    first, second = (_Window.draw(clean, side, part) for part in (numbers[:, 0:2], numbers[:, 2:4]))
    emptied = delta.masked_fill(second.mask(clean), 0.0)
    freed = (delta * (first.mask(clean) | second.mask(clean))).square().sum((2, 3), keepdim=True)
    unused = (epsilon**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp_min(0.0) / channels
    bumps = _bumps(first.height, first.width, numbers[:, 4]) * _signs(numbers[:, PLACES:])[:, :, None, None]
    old = first.cut(delta)
    new = bumps + old / _length(old)
    new = new / new.square().sum((2, 3), keepdim=True).sqrt().clamp_min(TINY) * (freed + unused).sqrt()
    moved = first.place(emptied, new)
    return ball.project(clean + epsilon * moved / _length(moved))


def _length(delta: Tensor) -> Tensor:
    return delta.square().sum((1, 2, 3), keepdim=True).sqrt().clamp_min(TINY)


def _bumps(height: int, width: int, turns: Tensor) -> Tensor:
    """Two opposite bumps of length 1 together, above each other or side by side, [n, 1, height, width]."""
    upright = _opposite(height, width).to(turns.device)
    lying = _opposite(width, height).T.to(turns.device)
    return torch.where((turns < 0.5)[:, None, None, None], upright, lying)


def _opposite(height: int, width: int) -> Tensor:
    half = height // 2
    parts = [_bump(half, width), -_bump(height - half, width)] if half else [_bump(height, width)]
    joined = torch.cat(parts)
    unit: Tensor = joined / joined.norm()
    return unit


def _bump(height: int, width: int) -> Tensor:
    """Rectangles about the centre, each lower than the smaller one inside it, of length 1."""
    total = torch.zeros(height, width)
    for ring in range(max(height, width) // 2 + 1):
        rows = slice(max(height // 2 - ring, 0), height // 2 + ring + 1)
        columns = slice(max(width // 2 - ring, 0), width // 2 + ring + 1)
        total[rows, columns] += 1 / (ring + 1) ** 2
    unit: Tensor = total / total.norm()
    return unit
