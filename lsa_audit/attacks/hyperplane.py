"""The nearest point of a hyperplane inside the box [0, 1]: the step of attacks that look for the smallest change."""

from __future__ import annotations

import torch
from torch import Tensor

from ..records import Norm

TINY = 1e-12


def shortest(points: Tensor, normals: Tensor, wanted: Tensor, norm: Norm) -> Tensor:
    """The smallest change that moves each point onto its hyperplane without leaving [0, 1].

    With r the length of the change, pixel i moves by min(r * rate_i, room_i) towards its side; the gain is a rising
    piecewise-linear function of r, and r is where it equals what is wanted.

    Args:
        points: [n, D] in [0, 1].
        normals: [n, D].
        wanted: [n], normal . change; where no change inside the box reaches it, the farthest corner is taken.

    Returns:
        The change [n, D].

    Cost: one sort of the pixels.
    """
    signed = normals * torch.where(wanted < 0, -1.0, 1.0)[:, None]
    weights = signed.abs()
    room = torch.where(signed > 0, 1 - points, points)
    rates = torch.ones_like(weights) if norm == "linf" else weights
    bends = torch.where(weights > 0, room / rates.clamp_min(TINY), torch.zeros_like(room))
    bends, order = bends.sort(dim=1)
    slopes = (weights * rates).gather(1, order)
    # The gain at each bend: pixels before it are at the edge, those behind it still move.
    moving = slopes.flip(1).cumsum(1).flip(1)
    steps = torch.diff(bends, dim=1, prepend=torch.zeros_like(bends[:, :1]))
    gains = (moving * steps).cumsum(1)
    goal = wanted.abs()[:, None]
    place = torch.searchsorted(gains, goal).clamp_max(gains.shape[1] - 1)
    missing = gains.gather(1, place) - goal
    radius = bends.gather(1, place) - missing / moving.gather(1, place).clamp_min(TINY)
    radius = radius.clamp_min(0.0).minimum(bends[:, -1:])
    return signed.sign() * torch.minimum(radius * rates, room) * (weights > 0)
