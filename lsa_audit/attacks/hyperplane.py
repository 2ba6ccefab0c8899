"""The nearest point of a hyperplane inside the box [0, 1]: the step of attacks that look for the smallest change."""

from __future__ import annotations

import torch
from torch import Tensor

from ..records import Norm

TINY = 1e-12
ROUNDS = 60
CLOSE = 32
"""Rounding steps of the number type that a sum over many pixels may be off."""


CACHED = 100_000
"""Numbers that a CPU core keeps close: more rows than hold these are worked on part by part, in about half the time."""


def shortest(points: Tensor, normals: Tensor, wanted: Tensor, norm: Norm) -> Tensor:
    """The smallest change that moves each point onto its hyperplane without leaving [0, 1].

    With r the length of the change, pixel i moves by min(r * rate_i, room_i) towards its side; the gain is a rising,
    concave, piecewise-linear function of r, and r is where it equals what is wanted. Newton's method from 0 never
    overshoots such a function and ends after a few rounds, where sorting the bends takes many times as long.

    Args:
        points: [n, D] in [0, 1].
        normals: [n, D].
        wanted: [n], normal . change; where no change inside the box reaches it, the farthest corner is taken.

    Returns:
        The change [n, D].

    Cost: five passes over the pixels a round, mostly 2 to 5 rounds. For l1 one sort: the heaviest pixels move
    first.
    """
    rows = max(1, CACHED // points.shape[1])
    if points.device.type != "cpu" or len(points) <= rows:
        return _shortest(points, normals, wanted, norm)
    parts = [slice(start, start + rows) for start in range(0, len(points), rows)]
    return torch.cat([_shortest(points[part], normals[part], wanted[part], norm) for part in parts])


def _fewest(weights: Tensor, room: Tensor, goal: Tensor) -> Tensor:
    """The change of the smallest sum, [n, D]: the pixels of the largest weight move first, each as far as it can."""
    heavy, order = weights.sort(dim=1, descending=True)
    space = room.gather(1, order)
    gains = heavy * space
    missing = goal[:, None] - (gains.cumsum(1) - gains)
    moved = torch.minimum(missing.clamp_min(0.0) / heavy.clamp_min(TINY), space) * (heavy > 0)
    return torch.zeros_like(weights).scatter(1, order, moved)


def _shortest(points: Tensor, normals: Tensor, wanted: Tensor, norm: Norm) -> Tensor:
    smallest = torch.finfo(normals.dtype).tiny
    sides = torch.where(wanted < 0, -1.0, 1.0)
    goal = wanted.abs()
    if norm == "l2":
        # Squares of tiny gradients would vanish.
        largest = normals.abs().amax(1).clamp_min(smallest)
        sides, goal = sides / largest, goal / largest
    signed = normals * sides[:, None]
    weights = signed.abs()
    room = (signed > 0).to(points.dtype).sub_(points).abs_()
    if norm == "l1":
        return signed.sign_().mul_(_fewest(weights, room, goal))
    rates = None if norm == "linf" else weights
    tolerance = CLOSE * torch.finfo(normals.dtype).eps * goal
    radius, moved, missing = torch.zeros_like(goal), torch.zeros_like(room), goal
    for _ in range(ROUNDS):
        reach = radius[:, None] if rates is None else radius[:, None] * rates
        free = (reach < room).to(weights.dtype)
        slope = torch.linalg.vecdot(weights, free if rates is None else free.mul_(rates))
        working = (missing > tolerance) & (slope > 0)
        if not working.any():
            break
        radius = torch.where(working, radius + missing / slope.clamp_min(smallest), radius)
        moved = torch.minimum(radius[:, None] if rates is None else radius[:, None] * rates, room)
        missing = goal - torch.linalg.vecdot(weights, moved)
    stuck = missing > tolerance
    if stuck.any():
        # Where not even the farthest corner is enough, every pixel that counts goes there.
        moved = torch.where(stuck[:, None], room, moved)
    return signed.sign_().mul_(moved)
