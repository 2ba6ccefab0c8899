"""The normal formula, and which number of images is announced."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from lsa_audit.stats.decision import POWER, announced, normal_images, plausible


@pytest.mark.parametrize(("variance", "distance", "alpha"), [(0.05, 0.02, 0.05), (2.0, -0.1, 0.01)])
def test_a_normal_mean_is_told_from_the_limit_with_the_power(variance, distance, alpha):
    images = normal_images(variance, distance, alpha)
    score = abs(distance) / math.sqrt(variance / images)
    assert stats.norm.sf(stats.norm.isf(alpha) - score) == pytest.approx(POWER)


def test_no_number_tells_a_mean_from_a_limit_that_it_equals():
    assert normal_images(1.0, 0.0, 0.05) == math.inf


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([], None), ([None], None), ([50], 101), ([100], 101), ([101], 101), ([50, 300], 300), ([None, 300], 300)],
)
def test_more_images_than_there_are_get_announced(numbers, expected):
    assert announced(100, numbers) == expected


def test_what_is_not_needed_is_not_computed():
    def numbers():
        yield 200
        raise AssertionError("the first number was enough")

    assert announced(100, numbers()) == 200


@pytest.mark.parametrize(
    ("seen", "margin", "error", "planned"),
    [
        (0.02, 0.02, 0.01, 0.0),
        (-0.3, 0.02, 0.01, 0.0),
        (0.03, 0.02, 0.01, 0.03),
        (0.06, 0.02, 0.05, 0.04),
        (0.2, 0.02, 0.01, 0.2 - 0.008416),
        (0.2, 0.0, 0.3, 0.0),
    ],
)
def test_what_is_planned_for(seen, margin, error, planned):
    assert plausible(seen, margin, error) == pytest.approx((planned, seen), abs=1e-6)
