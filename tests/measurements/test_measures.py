"""Measures on hand-made vectors."""

from __future__ import annotations

import math

import pytest
import torch

from lsa_audit.measurements.measures import MEASURES, pair

CLEAN = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
MOVED = torch.tensor([[[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]])
NAN = math.nan
EXPECTED = {
    "relative-error": [[0, NAN, math.sqrt(5)], [1, NAN, 2]],
    "l2": [[0, 1, math.sqrt(5)], [5, 0, 2]],
    "linf": [[0, 1, 2], [4, 0, 2]],
    "cosine": [[0, NAN, 1], [NAN, NAN, 2]],
    "batch-relative-error": [[0, NAN, math.sqrt(5)], [1, NAN, 2]],
}


def test_the_table_covers_every_measure():
    assert set(EXPECTED) == set(MEASURES)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_measures_of_known_vectors(name):
    found = MEASURES[name](pair(CLEAN, MOVED)).tolist()
    for row, expected in zip(found, EXPECTED[name], strict=True):
        assert row == pytest.approx(expected, nan_ok=True, abs=1e-12)


def test_norms_do_not_lose_small_changes_of_long_vectors():
    clean = torch.full((1, 1_000_000), 1.0)
    moved = clean + 1e-3
    found = float(MEASURES["relative-error"](pair(clean, moved[None]))[0, 0])
    assert found == pytest.approx(float((moved[0, 0] - 1).double()), rel=1e-9)
