"""Whether a share of images reaches a minimum: exact binomial tests."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from .decision import MOST_IMAGES, POWER, Decision, normal_images

EXACT_IMAGES = 200_000
"""Above this number the normal formula is exact enough."""
CANDIDATES = 2_000


def at_least(count: int, images: int, minimum: float, alpha: float) -> Decision:
    """The limit "the share is at least `minimum`", with the bounds of Clopper and Pearson.

    Args:
        count: images that count, 0 to `images`.
        images: all of them, 1 or more.
        minimum: 0..1.
        alpha: error rate of each of the two decisions, above 0 and below 0.5.

    >>> decision = at_least(95, 100, 0.9, 0.05)
    >>> round(decision.low, 3), round(decision.p_kept, 3), decision.needed
    (0.898, 0.058, 179)
    """
    broken = float(stats.binom.cdf(count, images, minimum))
    # No share lies below 0, so that there is nothing to be shown.
    kept = float(stats.binom.sf(count - 1, images, minimum)) if minimum > 0 else 0.0
    return Decision(
        seen=count / images,
        low=float(stats.beta.ppf(alpha, count, images - count + 1)) if count else 0.0,
        high=float(stats.beta.ppf(1 - alpha, count + 1, images - count)) if count < images else 1.0,
        p_broken=broken,
        p_kept=kept,
        images=images,
        alpha=alpha,
        needed=None if min(broken, kept) <= alpha else _needed(count / images, images, minimum, alpha),
    )


def _needed(share: float, images: int, minimum: float, alpha: float) -> int | None:
    """Images that decide with a probability of 0.8 if the share is as seen; None at the minimum."""
    normal = normal_images(max(share * (1 - share), minimum * (1 - minimum)), share - minimum, alpha)
    if share == minimum or normal > MOST_IMAGES:
        return None
    if normal > EXACT_IMAGES:
        return math.ceil(normal)
    candidates = np.unique(np.geomspace(images + 1, images + 2 + 3 * normal, CANDIDATES).astype(np.int64))
    if share > minimum:
        enough = stats.binom.isf(alpha, candidates, minimum) + 1
        power = stats.binom.sf(enough - 1, candidates, share)
    else:
        few = stats.binom.ppf(alpha, candidates, minimum) - 1
        power = stats.binom.cdf(few, candidates, share)
    reached = candidates[power >= POWER]
    return int(reached[0]) if len(reached) else max(math.ceil(normal), images + 1)
