from __future__ import annotations

import random

import numpy
import pytest
import torch

from lsa_audit.models.seeding import seeded


def draw() -> tuple[float, float, float]:
    return random.random(), float(numpy.random.rand()), float(torch.rand(()))  # noqa: S311 - no secret


def test_same_seed_same_draws_and_the_callers_generators_do_not_move() -> None:
    torch.manual_seed(5)
    random.seed(5)
    numpy.random.seed(5)
    expected = draw()
    torch.manual_seed(5)
    random.seed(5)
    numpy.random.seed(5)
    with seeded(7):
        first = draw()
    with seeded(7):
        second = draw()
    with seeded(8):
        other = draw()
    assert first == second
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert draw() == expected


def test_generators_come_back_after_an_exception() -> None:
    before = torch.get_rng_state(), random.getstate()

    def fail() -> None:
        with seeded(7):
            draw()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
