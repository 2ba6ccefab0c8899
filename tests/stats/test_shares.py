"""Shares against scipy's exact binomial test."""

from __future__ import annotations

import pytest
from scipy import stats

from lsa_audit.stats.shares import at_least

CASES = [(95, 100, 0.9), (97, 100, 0.9), (80, 100, 0.9), (0, 10, 0.5), (10, 10, 0.5), (1, 1, 0.9), (915, 1000, 0.9)]


@pytest.mark.parametrize(("count", "images", "minimum"), CASES)
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_p_values_and_bounds_are_those_of_scipy(count, images, minimum, alpha):
    decision = at_least(count, images, minimum, alpha)
    less = stats.binomtest(count, images, minimum, alternative="less")
    greater = stats.binomtest(count, images, minimum, alternative="greater")
    assert decision.p_broken == pytest.approx(less.pvalue)
    assert decision.p_kept == pytest.approx(greater.pvalue)
    assert decision.high == pytest.approx(less.proportion_ci(1 - alpha).high)
    assert decision.low == pytest.approx(greater.proportion_ci(1 - alpha).low)
    assert decision.low <= decision.seen == count / images <= decision.high
    assert (decision.p_broken <= alpha) == (decision.high <= minimum)
    assert (decision.p_kept <= alpha) == (decision.low >= minimum)


@pytest.mark.parametrize(("count", "images", "minimum"), [(95, 100, 0.9), (85, 100, 0.9), (10, 10, 0.9), (1, 2, 0.9)])
def test_the_number_announced_has_the_power_and_the_one_before_it_lacks_it(count, images, minimum):
    decision = at_least(count, images, minimum, 0.05)
    share = count / images

    def power(number: int) -> float:
        counts = range(number + 1)
        fits = [one for one in counts if (at_least(one, number, minimum, 0.05).needed is None)]
        right = [one for one in fits if (one / number > minimum) == (share > minimum)]
        return float(stats.binom.pmf(right, number, share).sum())

    assert decision.needed > images
    assert power(decision.needed) >= 0.8
    assert decision.needed == images + 1 or power(decision.needed - 1) < 0.8


def test_large_numbers_come_from_the_normal_formula():
    needed = at_least(89_990, 100_000, 0.9, 0.05).needed
    assert needed is None or needed > 5_000_000
    assert at_least(8_990, 10_000, 0.9, 0.05).needed == pytest.approx(6.1826 * 0.0908 / 0.001**2, rel=0.01)


def test_what_no_number_decides():
    assert at_least(90, 100, 0.9, 0.05).needed is None
    assert at_least(100, 100, 1.0, 0.05).needed is None
    assert at_least(100, 100, 1.0, 0.05).p_broken == 1.0


def test_every_share_reaches_zero_and_one_wrong_image_breaks_one():
    assert at_least(0, 5, 0.0, 0.05).p_kept == 0.0
    assert at_least(99, 100, 1.0, 0.05).p_broken == 0.0
