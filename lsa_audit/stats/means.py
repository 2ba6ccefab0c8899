"""Whether a mean over images, or its rise, keeps a limit: studentised bootstrap; and how stable a layer's listing is.

The mean of a small sample of skewed values is skewed itself. Dividing each resampled mean by its own standard error
takes most of that into account; what is left is measured by `python -m benchmarks.gate`.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 12.5.
Differs from the source: the interval is inverted into p-values.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .decision import MOST_IMAGES, Decision, announced, normal_images, plausible
from .statistics import listed, resampling

Floats = NDArray[np.float64]

RESAMPLES = 9_999
DRAWN_AT_ONCE = 2**20
"""Values that are held at the same time."""


def at_most(values: Floats, maximum: float, alpha: float, seed: int, resamples: int = RESAMPLES) -> Decision:
    """The limit "the mean is at most `maximum`".

    A single value decides nothing. Values that are all the same decide at once.

    Args:
        values: [N], NaN where undefined; such images are left out.
        alpha: error rate of each of the two decisions, above 0 and below 0.5.

    Cost: 9,999 resamples of N values, about a second for 10,000. Random: a generator made of `seed`.

    >>> decision = at_most(np.arange(20.0), 12.0, 0.05, seed=0)
    >>> decision.seen, decision.p_kept < 0.05 < decision.p_broken, decision.high < 12
    (9.5, True, True)
    """
    return _decide(values, maximum, alpha, seed, resamples)


def rise(before: Floats, after: Floats, margin: float, alpha: float, seed: int, resamples: int = RESAMPLES) -> Decision:
    """The limit "the mean rises by at most `margin`", on the same images before and after.

    Args:
        before, after: [N] each, NaN where undefined; images without both values are left out.
    """
    return _decide(after - before, margin, alpha, seed, resamples, change=True)


def newly_listed(
    before: Floats,
    after: Floats,
    eta_before: float,
    eta_after: float,
    row_before: int | None,
    row_after: int,
    seed: int,
) -> float:
    """Share of joint resamples of the images in which a layer is among the most vulnerable ones only after.

    A share of at most alpha says that it is not newly listed, one of at least 1 - alpha that it is.

    Args:
        before, after: [L, N] each, NaN where undefined; the layers may differ, the images are the same.
        eta_before, eta_after: the factor of sigma in the threshold.
        row_before: None: the layer does not exist there, so that it is never listed.

    Returns:
        0..1; NaN for a single image, which says nothing of other images.

    Cost: 1,000 resamples of N images, held at once.
    """
    if after.shape[1] < 2:
        return math.nan
    weights = resampling(after.shape[1], seed)
    new = listed(after, eta_after, weights)[:, row_after]
    if row_before is not None:
        new = new & ~listed(before, eta_before, weights)[:, row_before]
    return float(new.mean())


def _decide(values: Floats, limit: float, alpha: float, seed: int, resamples: int, change: bool = False) -> Decision:
    values = values[np.isfinite(values)]
    images = len(values)
    seen = float(values.mean()) if images else math.nan
    if images < 2:
        return Decision(seen, -math.inf, math.inf, 1.0, 1.0, images, alpha, None)
    if np.ptp(values) == 0:
        sure = 1 / (resamples + 1)
        p_broken, p_kept = (1.0, sure) if seen <= limit else (sure, 1.0)
        return Decision(seen, seen, seen, p_broken, p_kept, images, alpha, None)
    variance = float(values.var(ddof=1))
    error = math.sqrt(variance / images)
    scores = np.sort(_scores(values - seen, seed, resamples))
    score = (seen - limit) / error
    p_broken = (resamples - np.searchsorted(scores, score, side="left") + 1) / (resamples + 1)
    p_kept = (np.searchsorted(scores, score, side="right") + 1) / (resamples + 1)
    tail = math.floor(alpha * (resamples + 1) + 1e-9) - 1
    means = plausible(seen, limit, error) if change else (seen,)
    needed = announced(images, (_images_needed(variance, limit - mean, alpha) for mean in means))
    return Decision(
        seen=seen,
        low=float(seen - error * scores[-1 - tail]) if tail >= 0 else -math.inf,
        high=float(seen - error * scores[tail]) if tail >= 0 else math.inf,
        p_broken=float(p_broken),
        p_kept=float(p_kept),
        images=images,
        alpha=alpha,
        needed=None if min(p_broken, p_kept) <= alpha else needed,
    )


def _scores(centred: Floats, seed: int, resamples: int) -> Floats:
    """The mean of each resample of values with mean 0, divided by its own standard error: [resamples]."""
    generator = np.random.default_rng(seed)
    images = len(centred)
    rows = max(1, DRAWN_AT_ONCE // images)
    sums, squares = np.empty(resamples), np.empty(resamples)
    for start in range(0, resamples, rows):
        part = slice(start, min(start + rows, resamples))
        drawn = centred[generator.integers(0, images, size=(part.stop - start, images), dtype=np.uint32)]
        sums[part] = drawn.sum(axis=1)
        squares[part] = np.einsum("ij,ij->i", drawn, drawn)
    errors = np.sqrt(np.maximum(squares - sums**2 / images, 0.0) * images / (images - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        # A resample of one value alone has no spread; it counts as endlessly far from the mean.
        return np.nan_to_num(sums / errors, nan=0.0, posinf=np.inf, neginf=-np.inf)


def _images_needed(variance: float, distance: float, alpha: float) -> int | None:
    needed = normal_images(variance, distance, alpha)
    return math.ceil(needed) if needed <= MOST_IMAGES else None
