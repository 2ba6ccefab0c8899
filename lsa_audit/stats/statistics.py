"""The statistics behind every claim: intervals, paired tests, rank correlation, the layer bootstrap. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..records import Correlation, Estimate

CONFIDENCE = 0.95
DEVIATIONS = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
PERMUTATIONS = 9_999
PERMUTED_AT_ONCE = 2**17
"""Ranks that are held at the same time; more would take gigabytes for long lists, and run slower."""
BOOTSTRAP_RESAMPLES = 1_000

Floats = NDArray[np.float64]


def estimate(count: int, total: int) -> Estimate:
    """`count` of `total` images with the Wilson interval at 95 %.

    >>> round(estimate(50, 100).low, 3)
    0.404
    """
    interval = stats.binomtest(count, total).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return Estimate(count=count, total=total, value=count / total, low=float(interval.low), high=float(interval.high))


def mcnemar_loss(losses: ArrayLike, gains: ArrayLike) -> Floats:
    """Exact one-sided McNemar tests on paired verdicts: the p-values of "no more losses than gains".

    Args:
        losses: images right before and wrong after; one number, or one for each test.
        gains: images wrong before and right after.

    >>> mcnemar_loss([5, 0], [0, 0]).tolist()
    [0.03125, 1.0]
    """
    losses, gains = np.asarray(losses), np.asarray(gains)
    return np.asarray(stats.binom.sf(losses - 1, losses + gains, 0.5), dtype=np.float64)


def mcnemar_change(gained: int, lost: int) -> float:
    """Exact two-sided McNemar test on paired verdicts: the p-value of "as many gained as lost".

    >>> mcnemar_change(5, 0)
    0.0625
    """
    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue)


def paired_difference(gained: int, lost: int, total: int) -> tuple[float, float, float]:
    """Difference of two shares of the same images, after minus before, with its 95 % interval, in -1..1.

    Args:
        gained: images wrong before and right after.
        lost: images right before and wrong after.
        total: all images, 1 or more.

    Source: Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data", Journal of Educational and Behavioral Statistics 37, 2012.

    >>> [round(value, 3) for value in paired_difference(12, 2, 100)]
    [0.1, 0.024, 0.173]
    """
    more, fewer = (gained + 1) / (total + 2), (lost + 1) / (total + 2)
    middle = more - fewer
    spread = DEVIATIONS * math.sqrt((more + fewer - middle**2) / (total + 2))
    return (gained - lost) / total, max(middle - spread, -1.0), min(middle + spread, 1.0)


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down adjustment: adjusted p-values in the order given, each in 0..1.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def gini(values: Sequence[float]) -> float | None:
    """Gini coefficient of values of at least 0: 0 where all are alike, near 1 where one holds all; None for all zeros.

    >>> gini([0, 0, 0, 1])
    0.75
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    total, count = ordered.sum(), len(ordered)
    if total == 0:
        return None
    return float((2 * np.arange(1, count + 1) - count - 1) @ ordered / (count * total))


def finite(value: float | np.floating) -> float | None:
    """The number, or None when it is NaN or infinite: JSON has neither."""
    return float(value) if np.isfinite(value) else None


def rank_correlation(
    between: tuple[str, str], left: Sequence[float | None], right: Sequence[float | None], seed: int
) -> Correlation:
    """Spearman's rho with a two-sided permutation p-value (exact for small lists, else 9,999 random pairings).

    Pairs with a None or NaN are left out. `rho` is None when fewer than three pairs remain or one side is constant.
    """
    (found,) = rank_correlations([between], [left], right, seed)
    return found


def rank_correlations(
    between: Sequence[tuple[str, str]],
    lefts: Sequence[Sequence[float | None]],
    right: Sequence[float | None],
    seed: int,
) -> tuple[Correlation, ...]:
    """The same for several lists against one.

    Cost: for each list a product with 9,999 pairings; those that know the same pairs share the drawing of them.
    """
    sides = np.asarray([*lefts, right], dtype=np.float64)
    known = np.isfinite(sides[:-1]) & np.isfinite(sides[-1])
    found: dict[int, Correlation] = {}
    for mask in np.unique(known, axis=0):
        same = np.flatnonzero((known == mask).all(axis=1)).tolist()
        other = sides[-1, mask]
        varied = [place for place in same if mask.sum() >= 3 and np.ptp(sides[place, mask]) and np.ptp(other)]
        tests = dict(zip(varied, _permuted(sides[varied][:, mask], other, seed) if varied else (), strict=True))
        for place in same:
            rho, p_value = tests.get(place, (None, None))
            found[place] = Correlation(between=between[place], rho=rho, p_value=p_value, count=int(mask.sum()))
    return tuple(found[place] for place in range(len(lefts)))


def _permuted(lefts: Floats, right: Floats, seed: int) -> list[tuple[float, float]]:
    """Spearman's rho of each row of lefts [L, n] with right [n], and its p-value."""
    first = np.stack([_standard_ranks(left) for left in lefts])
    second = _standard_ranks(right)

    def statistic(permuted: Floats, axis: int = -1) -> Floats:
        return np.asarray(np.mean(permuted * second, axis=axis))

    test = stats.permutation_test(
        (first,),
        statistic,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=max(1, PERMUTED_AT_ONCE // first.size),
        alternative="two-sided",
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    return list(zip(test.statistic.tolist(), test.pvalue.tolist(), strict=True))


def _standard_ranks(values: Floats) -> Floats:
    ranks = stats.rankdata(values)
    return np.asarray((ranks - ranks.mean()) / ranks.std(), dtype=np.float64)


@dataclass(frozen=True)
class PooledLayers:
    """Statistics of a measure over L layers and N images (NaN where it is undefined).

    Attributes:
        means, stds, low, high: per layer, over the images; low and high bound the mean at 95 %. All but the means are
            NaN for a single image, which says nothing of other images.
        mu, sigma: mean and population standard deviation pooled over images and layers.
        selected: per layer, whether its mean exceeds mu + eta * sigma.
        share: per layer, share of the bootstrap resamples in which it does; NaN for a single image.
    """

    means: Floats
    stds: Floats
    low: Floats
    high: Floats
    mu: float
    sigma: float
    selected: NDArray[np.bool_]
    share: Floats


def pool_layers(values: Floats, eta: float, seed: int, resamples: int = BOOTSTRAP_RESAMPLES) -> PooledLayers:
    """Pooled statistics, the vulnerable layers, and how stable that choice is under resampling of the images.

    Args:
        values: [L, N], NaN where undefined; a layer that is NaN throughout is left out of everything.
        eta: the factor of sigma in the threshold, 0 or above.

    Source: Khalooei et al., arXiv 2202.02626, Algorithm 1.
    Differs from the source: the interval and the share come from a bootstrap over the images; the paper gives neither.
    Cost: two products [resamples, N] x [N, L]. Random: a generator made of `seed`.
    """
    defined = np.isfinite(values)
    filled = np.where(defined, values, 0.0)
    n_images = values.shape[1]
    means, mu, sigma, selected = _pool(np.ones((1, n_images)), defined, filled, eta)
    if n_images < 2:
        unknown = np.full(len(values), np.nan)
        return PooledLayers(means[0], unknown, unknown, unknown, float(mu[0]), float(sigma[0]), selected[0], unknown)
    resampled, _, _, chosen = _pool(resampling(n_images, seed, resamples), defined, filled, eta)
    with np.errstate(invalid="ignore", divide="ignore"):
        counts = defined.sum(axis=1)
        stds = np.sqrt(np.where(defined, (filled - means.T) ** 2, 0.0).sum(axis=1) / counts)
    low, high = _percentiles(resampled)
    return PooledLayers(means[0], stds, low, high, float(mu[0]), float(sigma[0]), selected[0], chosen.mean(axis=0))


def resampling(n_images: int, seed: int, resamples: int = BOOTSTRAP_RESAMPLES) -> Floats:
    """How often each image is drawn in each resample of all of them: [resamples, n_images]."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(n_images, np.full(n_images, 1 / n_images), size=resamples).astype(np.float64)


def listed(values: Floats, eta: float, weights: Floats) -> NDArray[np.bool_]:
    """For each row of `weights` [R, N], whether the mean of each layer of `values` [L, N] exceeds mu + eta * sigma.

    Returns:
        [R, L]; a layer without any value is not listed.
    """
    defined = np.isfinite(values)
    return _pool(weights, defined, np.where(defined, values, 0.0), eta)[3]


def _pool(
    weights: Floats, defined: NDArray[np.bool_], filled: Floats, eta: float
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    with np.errstate(invalid="ignore", divide="ignore"):
        counts = weights @ defined.T.astype(np.float64)
        sums = weights @ filled.T
        means = sums / counts
        total = counts.sum(axis=1)
        mu = sums.sum(axis=1) / total
        spread = (weights @ (np.where(defined, filled - mu.mean(), 0.0) ** 2).T).sum(axis=1) / total
        sigma = np.sqrt(np.maximum(spread - (mu - mu.mean()) ** 2, 0.0))
        selected = means - mu[:, None] > eta * sigma[:, None]
    return means, mu, sigma, selected


def _percentiles(resampled: Floats) -> tuple[Floats, Floats]:
    tail = 100 * (1 - CONFIDENCE) / 2
    low = np.full(resampled.shape[1], np.nan)
    high = low.copy()
    seen = np.isfinite(resampled).any(axis=0)
    low[seen], high[seen] = np.nanpercentile(resampled[:, seen], [tail, 100 - tail], axis=0)
    return low, high


def median_interval(
    values: Floats, seed: int, resamples: int = BOOTSTRAP_RESAMPLES
) -> tuple[float | None, float | None]:
    """95 % bootstrap interval of the median; infinite values count as above all others, None is infinite.

    Random: a generator made of `seed`.
    """
    if len(values) < 2:
        return None, None
    generator = np.random.default_rng(seed)
    places = generator.integers(0, len(values), size=(resamples, len(values)))
    medians = np.sort(values[places], axis=1)[:, (len(values) - 1) // 2]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, [tail, 1 - tail], method="inverted_cdf")
    return finite(low), finite(high)
