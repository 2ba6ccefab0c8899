"""Statistics against closed forms, scipy and slow obvious versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lsa_audit.stats import statistics
from lsa_audit.stats.statistics import estimate, holm, mcnemar_loss, pool_layers, rank_correlation, rank_correlations


@pytest.mark.parametrize(("count", "total"), [(0, 10), (5, 10), (10, 10), (915, 1000)])
def test_wilson_interval_equals_the_formula(count, total):
    z = stats.norm.ppf(0.975)
    share = count / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    found = estimate(count, total)
    assert found.value == share
    assert found.low == pytest.approx(max(0, centre - half), abs=1e-9)
    assert found.high == pytest.approx(min(1, centre + half), abs=1e-9)


@pytest.mark.parametrize(("losses", "gains"), [(0, 0), (1, 0), (5, 0), (7, 3), (3, 7), (40, 25)])
def test_mcnemar_sums_the_binomial_tail(losses, gains):
    discordant = losses + gains
    expected = sum(math.comb(discordant, k) for k in range(losses, discordant + 1)) / 2**discordant
    assert mcnemar_loss(losses, gains) == pytest.approx(expected)


def test_holm_is_the_textbook_example_and_never_falls_below_the_raw_value():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    raw = np.random.default_rng(0).random(30)
    assert (holm(raw) >= raw).all()
    assert holm(raw).max() <= 1


def test_holm_of_nothing_is_nothing():
    assert holm([]).tolist() == []


def test_rho_equals_scipy_with_ties_and_the_p_value_is_near_the_asymptotic_one():
    generator = np.random.default_rng(3)
    left = generator.integers(0, 6, 40).astype(float)
    right = left + generator.normal(0, 3, 40)
    found = rank_correlation(("a", "b"), left, right, seed=1)
    reference = stats.spearmanr(left, right)
    assert found.rho == pytest.approx(reference.statistic)
    assert found.p_value == pytest.approx(reference.pvalue, abs=0.01)
    assert rank_correlation(("a", "b"), left, right, seed=1) == found


def test_small_lists_get_the_exact_permutation_p_value():
    found = rank_correlation(("a", "b"), [1, 2, 3, 4], [1, 2, 3, 4], seed=0)
    assert found.rho == pytest.approx(1.0)
    assert found.p_value == pytest.approx(2 / 24)


def test_several_lists_at_once_get_the_figures_of_each_alone():
    generator = np.random.default_rng(5)
    right = generator.normal(size=30).tolist()
    lefts = [generator.poisson(1, 30).astype(float).tolist() for _ in range(4)]
    lefts[1][3], lefts[2] = None, [1.0] * 30
    names = [(str(place), "right") for place in range(4)]
    found = rank_correlations(names, lefts, right, seed=1)
    assert found == tuple(rank_correlation(name, left, right, seed=1) for name, left in zip(names, lefts, strict=True))
    assert [entry.count for entry in found] == [30, 29, 30, 30]
    assert found[2].rho is None


def test_the_p_value_is_that_of_all_pairings_at_once(monkeypatch):
    generator = np.random.default_rng(6)
    left, right = generator.normal(size=50).tolist(), generator.normal(size=50).tolist()
    found = rank_correlation(("a", "b"), left, right, seed=1)
    monkeypatch.setattr(statistics, "PERMUTED_AT_ONCE", 10**6)
    assert rank_correlation(("a", "b"), left, right, seed=1) == found


@pytest.mark.parametrize("right", [[1, 1, 1, 1], [1, 2, math.nan, math.nan]])
def test_rho_is_absent_where_it_does_not_exist(right):
    found = rank_correlation(("a", "b"), [1, 2, 3, 4], right, seed=0)
    assert found.rho is None
    assert found.p_value is None


def test_pooled_statistics_equal_the_obvious_ones():
    values = np.random.default_rng(0).gamma(2, size=(5, 40)) * np.array([[1], [1], [1], [1], [4]])
    pooled = pool_layers(values, eta=0.8, seed=0)
    assert pooled.mu == pytest.approx(values.mean())
    assert pooled.sigma == pytest.approx(values.std())
    assert pooled.means == pytest.approx(values.mean(axis=1))
    assert pooled.stds == pytest.approx(values.std(axis=1))
    assert pooled.selected.tolist() == (values.mean(axis=1) - values.mean() > 0.8 * values.std()).tolist()
    assert pooled.selected.tolist() == [False, False, False, False, True]


def test_the_bootstrap_equals_a_slow_one_with_the_same_resamples():
    values = np.random.default_rng(1).gamma(2, size=(3, 12))
    values[0, :4] = np.nan
    pooled = pool_layers(values, eta=0.3, seed=7, resamples=50)
    weights = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), size=50)
    means, chosen = [], []
    for row in weights:
        resampled = np.repeat(values, row, axis=1)
        mean = np.nanmean(resampled, axis=1)
        means.append(mean)
        chosen.append(mean - np.nanmean(resampled) > 0.3 * np.nanstd(resampled))
    assert pooled.low == pytest.approx(np.percentile(means, 2.5, axis=0))
    assert pooled.high == pytest.approx(np.percentile(means, 97.5, axis=0))
    assert pooled.share == pytest.approx(np.mean(chosen, axis=0))


def test_an_interval_of_the_bootstrap_covers_the_true_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(5)
    hits = 0
    for seed in range(200):
        pooled = pool_layers(generator.normal(3, 1, size=(1, 60)), eta=1, seed=seed, resamples=300)
        hits += int(pooled.low[0] <= 3 <= pooled.high[0])
    assert 180 <= hits <= 198


def test_a_layer_without_any_value_is_left_out_and_harms_no_other():
    values = np.random.default_rng(2).gamma(2, size=(3, 20))
    with_gap = np.vstack([values, np.full((1, 20), np.nan)])
    plain, gapped = pool_layers(values, 0.8, 0), pool_layers(with_gap, 0.8, 0)
    assert gapped.mu == pytest.approx(plain.mu)
    assert gapped.sigma == pytest.approx(plain.sigma)
    assert np.isnan(gapped.means[3])
    assert np.isnan(gapped.low[3])
    assert not gapped.selected[3]
    assert gapped.low[:3] == pytest.approx(plain.low)


def test_a_single_image_has_means_and_no_uncertainty():
    pooled = pool_layers(np.array([[1.0], [3.0]]), eta=0.8, seed=0)
    assert pooled.means.tolist() == [1.0, 3.0]
    assert (pooled.mu, pooled.sigma) == (2.0, 1.0)
    assert pooled.selected.tolist() == [False, True]
    for unknown in (pooled.stds, pooled.low, pooled.high, pooled.share):
        assert np.isnan(unknown).all()
