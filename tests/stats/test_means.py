"""Means against a slow bootstrap with the same draws, closed cases and simulations."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from lsa_audit.stats import means
from lsa_audit.stats.decision import normal_images
from lsa_audit.stats.means import at_most, newly_listed, rise
from lsa_audit.stats.statistics import pool_layers


def skewed(images: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0, 0.5, images)


def test_p_values_and_bounds_equal_those_of_a_slow_bootstrap():
    values = skewed(12, 1)
    decision = at_most(values, 1.3, 0.05, seed=3, resamples=399)
    places = np.random.default_rng(3).integers(0, 12, size=(399, 12), dtype=np.uint32)
    scores = []
    for row in values[places]:
        scores.append((row.mean() - values.mean()) / (row.std(ddof=1) / math.sqrt(12)))
    error = values.std(ddof=1) / math.sqrt(12)
    score = (values.mean() - 1.3) / error
    assert decision.p_broken == (1 + sum(one >= score for one in scores)) / 400
    assert decision.p_kept == (1 + sum(one <= score for one in scores)) / 400
    # 400 * 0.05 = 20: the p-value is above 0.05 until fewer than 20 resamples are as extreme.
    assert decision.low == pytest.approx(values.mean() - error * sorted(scores)[-20])
    assert decision.high == pytest.approx(values.mean() - error * sorted(scores)[19])
    assert decision.low < decision.seen < decision.high


@pytest.mark.parametrize("limit", [0.8, 0.95, 1.0, 1.1, 1.2, 1.3, 2.0])
@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001])
def test_bounds_agree_with_the_tests(limit, alpha):
    decision = at_most(skewed(50, 2), limit, alpha, seed=0)
    assert (decision.p_broken <= alpha) == (decision.low >= limit)
    assert (decision.p_kept <= alpha) == (decision.high <= limit)
    assert (decision.needed is None) == (min(decision.p_broken, decision.p_kept) <= alpha)


def test_the_draws_do_not_depend_on_how_many_are_held(monkeypatch):
    whole = at_most(skewed(40, 3), 1.2, 0.05, seed=0)
    monkeypatch.setattr(means, "DRAWN_AT_ONCE", 1_000)
    assert at_most(skewed(40, 3), 1.2, 0.05, seed=0) == whole


def test_an_alpha_below_all_p_values_has_no_bounds():
    decision = at_most(skewed(40, 3), 1.2, 1e-5, seed=0)
    assert (decision.low, decision.high) == (-math.inf, math.inf)


def test_a_rise_is_the_mean_of_the_differences_and_leaves_undefined_images_out():
    before, after = skewed(100, 4), skewed(100, 4) + np.random.default_rng(0).normal(0.1, 0.2, 100)
    before[:3], after[2:5] = np.nan, np.nan
    found = rise(before, after, 0.3, 0.05, seed=1)
    assert found.images == 95
    alone = at_most((after - before)[5:], 0.3, 0.05, seed=1)
    assert (found.seen, found.low, found.p_kept) == (alone.seen, alone.low, alone.p_kept)
    assert found.p_kept < 0.05 < found.p_broken


def test_the_same_model_passes_even_without_a_margin():
    values = skewed(30, 5)
    decision = rise(values, values, 0.0, 0.05, seed=0)
    assert (decision.seen, decision.low, decision.high, decision.p_broken) == (0.0, 0.0, 0.0, 1.0)
    assert decision.p_kept <= 0.001
    assert rise(values, values + 1, 0.5, 0.05, seed=0).p_broken <= 0.001


@pytest.mark.parametrize("values", [[], [np.nan], [2.0], [2.0, np.nan]])
def test_one_image_or_none_says_nothing(values):
    decision = at_most(np.array(values, dtype=np.float64), 5.0, 0.05, seed=0)
    assert (decision.p_broken, decision.p_kept, decision.low, decision.high) == (1.0, 1.0, -math.inf, math.inf)
    assert decision.needed is None
    assert math.isnan(decision.seen) == (not np.isfinite(values).any())


def test_one_image_that_differs_decides_nothing():
    values = np.zeros(500)
    values[0] = 3.0
    decision = at_most(values, 0.02, 0.05, seed=0)
    assert decision.p_kept > 0.3
    assert decision.high == math.inf


def test_the_number_announced_is_that_of_the_normal_formula():
    values = skewed(50, 6)
    decision = at_most(values, float(values.mean()) + 0.02, 0.05, seed=0)
    assert decision.needed == math.ceil(normal_images(values.var(ddof=1), 0.02, 0.05))
    assert at_most(values, float(values.mean()), 0.05, seed=0).needed is None
    change = np.random.default_rng(1).normal(0.0, 1.0, 50)
    change -= change.mean() - 0.05
    variance = change.var(ddof=1)
    assert rise(np.zeros(50), change, 0.1, 0.05, 0).needed == math.ceil(normal_images(variance, 0.1, 0.05))
    assert rise(np.zeros(50), change, 0.04, 0.05, 0).needed == math.ceil(normal_images(variance, 0.01, 0.05))


def test_neither_error_is_much_more_frequent_than_alpha_with_skewed_values():
    truth = math.exp(0.125)
    decisions = [at_most(skewed(100, 1000 + seed), truth, 0.05, seed, resamples=499) for seed in range(400)]
    # 20 are to be expected of each; 33 or more would be so in 4 of 1,000 cases.
    assert 8 <= sum(decision.p_broken <= 0.05 for decision in decisions) <= 32
    assert 8 <= sum(decision.p_kept <= 0.05 for decision in decisions) <= 32


def test_memory_is_bounded():
    values = skewed(50_000, 0)
    tracemalloc.start()
    at_most(values, 1.2, 0.05, seed=0, resamples=199)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


def layers(images: int) -> np.ndarray:
    return np.random.default_rng(0).gamma(2, size=(4, images))


def test_a_layer_is_newly_listed_where_only_the_later_run_lists_it():
    before = layers(200)
    after = before * np.array([[1.0], [1.0], [1.0], [5.0]])
    assert newly_listed(before, after, 0.8, 0.8, 3, 3, seed=0) == 1.0
    assert newly_listed(after, after, 0.8, 0.8, 3, 3, seed=0) == 0.0
    assert newly_listed(before, after, 0.8, 0.8, 0, 0, seed=0) == 0.0
    assert newly_listed(after, before, 0.8, 0.8, 3, 3, seed=0) == 0.0


def test_layers_that_differ_in_number_are_compared_on_the_same_resamples():
    before, after = layers(60)[:3], layers(60) * np.array([[1.0], [1.0], [1.0], [1.6]])
    new = newly_listed(before, after, 0.5, 0.5, None, 3, seed=2)
    assert new == pool_layers(after, 0.5, seed=2).share[3]
    assert 0 < new < 1
    joint = newly_listed(after[[3, 0, 1, 2]], after, 0.5, 0.5, 0, 3, seed=2)
    assert joint == 0.0


def test_a_layer_without_values_or_a_single_image_is_not_listed():
    after = layers(30)
    after[3] = np.nan
    assert newly_listed(layers(30), after, 0.5, 0.5, 3, 3, seed=0) == 0.0
    assert math.isnan(newly_listed(layers(1), layers(1), 0.5, 0.5, 3, 3, seed=0))
