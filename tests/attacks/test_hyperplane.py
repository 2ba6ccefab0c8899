"""The shortest change onto a hyperplane inside the box, against general-purpose optimisers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from lsa_audit.attacks.hyperplane import shortest

PIXELS, CASES = 7, 12


def problems(seed: int, share: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points, normals (one pixel without weight) and a wanted gain: a share of what the box allows."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(CASES, PIXELS, generator=generator, dtype=torch.float64)
    normals = torch.randn(CASES, PIXELS, generator=generator, dtype=torch.float64)
    normals[:, 0] = 0.0
    up = (normals.clamp_min(0) * (1 - points) + (-normals).clamp_min(0) * points).sum(1)
    down = (normals.clamp_min(0) * points + (-normals).clamp_min(0) * (1 - points)).sum(1)
    signs = torch.where(torch.arange(CASES) % 2 == 0, 1.0, -1.0).double()
    return points, normals, share * torch.where(signs > 0, up, -down)


def best_linf(point: np.ndarray, normal: np.ndarray, wanted: float) -> float:
    radius = np.append(np.zeros(PIXELS), 1.0)
    sides = [np.append(sign * row, -1.0) for row in np.eye(PIXELS) for sign in (1, -1)]
    bounds = [(-value, 1 - value) for value in point] + [(0, None)]
    found = linprog(radius, np.array(sides), np.zeros(len(sides)), [np.append(normal, 0.0)], [wanted], bounds)
    return float(found.fun)


def best_l2(point: np.ndarray, normal: np.ndarray, wanted: float) -> float:
    found = minimize(
        lambda change: float(change @ change),
        np.zeros(PIXELS),
        jac=lambda change: 2 * change,
        bounds=[(-value, 1 - value) for value in point],
        constraints={"type": "eq", "fun": lambda change: float(normal @ change - wanted)},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return float(np.sqrt(found.fun))


def best_l1(point: np.ndarray, normal: np.ndarray, wanted: float) -> float:
    ups_and_downs = [(0, 1 - value) for value in point] + [(0, value) for value in point]
    found = linprog(np.ones(2 * PIXELS), None, None, [np.append(normal, -normal)], [wanted], ups_and_downs)
    return float(found.fun)


@pytest.mark.slow_for("l2-best_l2-0.1")
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.95])
@pytest.mark.parametrize(("norm", "best"), [("linf", best_linf), ("l2", best_l2), ("l1", best_l1)])
def test_the_change_reaches_the_plane_by_the_shortest_way(norm, best, share):
    points, normals, wanted = problems(3, share)
    change = shortest(points, normals, wanted, norm)
    moved = points + change
    assert float(moved.min()) >= -1e-12
    assert float(moved.max()) <= 1 + 1e-12
    assert torch.allclose((normals * change).sum(1), wanted, atol=1e-9)
    length = torch.linalg.vector_norm(change, ord={"linf": torch.inf, "l2": 2, "l1": 1}[norm], dim=1)
    for index in range(CASES):
        found = best(points[index].numpy(), normals[index].numpy(), float(wanted[index]))
        assert float(length[index]) == pytest.approx(found, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_where_the_box_ends_first_the_farthest_corner_is_taken(norm):
    points, normals, wanted = problems(5, 3.0)
    moved = points + shortest(points, normals, wanted, norm)
    side = normals * torch.where(wanted < 0, -1.0, 1.0)[:, None]
    assert torch.allclose(moved[:, 1:], (side[:, 1:] > 0).double())
    assert torch.equal(moved[:, 0], points[:, 0])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_a_direction_nothing_moves(norm):
    assert not shortest(torch.rand(2, 5), torch.zeros(2, 5), torch.ones(2), norm).any()
