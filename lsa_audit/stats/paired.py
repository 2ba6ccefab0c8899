"""Whether a share of images dropped by more than a margin, from the verdicts on the same images before and after.

Outcomes are ordered by Tango's score statistic of a difference of paired proportions. The p-value is exact: the largest
probability of an outcome at least as extreme, over every discordance (share of the images whose verdict changed) in an
exact interval, plus the probability that the interval misses. The other direction is the same test with lost and gained
exchanged and the margin's sign turned.

Source: Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
design", Statistics in Medicine 17, 1998. Berger and Boos, "P values maximized over a confidence set for the nuisance
parameter", Journal of the American Statistical Association 89, 1994.
Differs from the sources: the largest probability is sought on a grid of the interval; the interval depends on alpha.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from .decision import MOST_IMAGES, PILOT_CONFIDENCE, POWER, Decision, announced, normal_images, plausible

Floats = NDArray[np.float64]

MISSED = 1e-3
"""Share of alpha that is spent on an interval that misses the discordance."""
GRID = 33
"""Shares at which the largest probability is sought; 2,001 of them change a p-value of 0.77 by less than 0.0002."""
COARSE_GRID = 9
"""The same where a number of images is sought."""
TOLERANCE = 1e-5
"""Of a bound."""
DEVIATIONS = 7
NEGLIGIBLE = 1e-12
"""Mass of a number of discordant images below which it is left out."""
MOST_DISCORDANT = 2_000
"""With more discordant images to be expected, the normal formula is less than 1 % short."""


def drop(lost: int, gained: int, images: int, margin: float, alpha: float) -> Decision:
    """The limit "the share of right images drops by at most `margin`".

    Where both verdicts are the same on every image and the margin is 0, nothing is decided: no number of images shows
    a drop of exactly 0.

    Args:
        lost: images right before and wrong after.
        gained: images wrong before and right after.
        images: all of them, 1 or more.
        margin: 0..1, 1 excluded.
        alpha: error rate of each of the two decisions, above 0 and below 0.5.

    Cost: about 40 p-values, each over the numbers of discordant images that can be expected.

    >>> decision = drop(40, 10, 1000, 0.02, 0.05)
    >>> round(decision.seen, 3), round(decision.low, 3), round(decision.high, 3), decision.needed
    (0.03, 0.019, 0.042, 3362)
    """
    broken = p_value(lost, gained, images, margin, alpha)
    kept = p_value(gained, lost, images, -margin, alpha)
    return Decision(
        seen=(lost - gained) / images,
        low=_lower_bound((lost, gained, images), margin, alpha, broken <= alpha),
        high=-_lower_bound((gained, lost, images), -margin, alpha, kept <= alpha),
        p_broken=broken,
        p_kept=kept,
        images=images,
        alpha=alpha,
        needed=None if min(broken, kept) <= alpha else _needed(lost, gained, images, margin, alpha),
    )


def p_value(lost: int, gained: int, images: int, margin: float, alpha: float) -> float:
    """P-value of "the drop is at most `margin`", -1..1.

    Far above alpha it may fall or rise a little as one more image is discordant, for then other discordances are looked
    at.

    Args:
        alpha: says how wide an interval of the discordance is looked at, and nothing else.
    """
    least = float(_score(lost, gained, images, margin)) - NEGLIGIBLE
    tails = _tail(least, images, margin, margin, _discordances(lost + gained, images, margin, alpha))
    return min(float(tails.max()) + MISSED * alpha, 1.0)


def images_needed(discordance: float, true_drop: float, margin: float, alpha: float) -> int | None:
    """Images with which the verdict on a drop is reached with a probability of 0.8.

    Args:
        discordance: share of images whose verdict changes; at least the size of the drop is taken.
        true_drop: -1..1.

    Returns:
        None at the margin itself, and above ten million.

    >>> images_needed(0.05, 0.0, 0.02, 0.05)
    820
    """
    if true_drop < margin:
        true_drop, margin = -true_drop, -margin
    discordance = max(discordance, abs(true_drop))
    normal = normal_images(discordance - true_drop**2, true_drop - margin, alpha)
    if normal > MOST_IMAGES:
        return None
    images = max(math.ceil(1.01 * normal), 1)
    if images * discordance <= MOST_DISCORDANT:
        images = _enough_images(images, (discordance, true_drop, margin), alpha)
    return images if images <= MOST_IMAGES else None


def _needed(lost: int, gained: int, images: int, margin: float, alpha: float) -> int | None:
    """The number to announce, from upper bounds of what is not known."""
    discordance = _upper_share(lost + gained, images, 1 - PILOT_CONFIDENCE)
    seen = (lost - gained) / images
    true_drops = plausible(seen, margin, math.sqrt(discordance / images))
    return announced(images, (images_needed(discordance, true_drop, margin, alpha) for true_drop in true_drops))


def _lower_bound(verdicts: tuple[int, int, int], margin: float, alpha: float, rejected: bool) -> float:
    """The edge of the margins that are rejected; on the same side of `margin` as the test there."""
    lost, gained, images = verdicts
    seen = (lost - gained) / images
    inside, outside = (margin, max(seen, margin)) if rejected else (-1.0, min(seen, margin))
    step = 2 * math.sqrt(lost + gained + 1) / images
    while outside - step > inside and p_value(*verdicts, outside - step, alpha) > alpha:
        outside -= step
    inside = max(inside, outside - step)
    while outside - inside > TOLERANCE:
        middle = (inside + outside) / 2
        if p_value(*verdicts, middle, alpha) <= alpha:
            inside = middle
        else:
            outside = middle
    return inside


def _upper_share(count: int, images: int, tail: float) -> float:
    """Exact upper bound of a share, missed with a probability of at most `tail`."""
    return float(special.betaincinv(count + 1, images - count, 1 - tail)) if count < images else 1.0


def _discordances(discordant: int, images: int, margin: float, alpha: float, points: int = GRID) -> Floats:
    """A grid over the exact interval of the discordance; no drop of the margin has a smaller one than the margin."""
    tail = MISSED * alpha / 2
    high = _upper_share(discordant, images, tail)
    low = 1 - _upper_share(images - discordant, images, tail)
    return np.linspace(max(low, abs(margin)), max(high, abs(margin)), points)


def _score(lost: ArrayLike, gained: ArrayLike, images: int, margin: float) -> Floats:
    """Tango's statistic; it rises with the drop seen. 0 where nothing can vary."""
    lost, gained = np.asarray(lost, dtype=np.float64), np.asarray(gained, dtype=np.float64)
    linear = margin * (2 * images - lost + gained) - lost - gained
    root = np.sqrt(np.maximum(linear**2 + 8 * images * gained * margin * (1 - margin), 0.0))
    variance = (root - linear) / 2 + images * margin * (1 - margin)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 0, (lost - gained - images * margin) / np.sqrt(variance), 0.0)


def _tail(least: float, images: int, margin: float, true_drop: float, discordances: Floats) -> Floats:
    """Probability of a score of at least `least`, for each discordance [G].

    Given the number of discordant images, which is binomial, the number lost is binomial too, and the score rises with
    it: what is asked for is the tail from the least number lost.
    """
    spread = DEVIATIONS * np.sqrt(images * discordances * (1 - discordances)) + 2 * DEVIATIONS
    first = max(math.floor((images * discordances - spread).min()), 0)
    last = min(math.ceil((images * discordances + spread).max()), images)
    discordant = np.arange(first, last + 1)
    lost = _least_lost(least, images, margin, discordant)
    rates = discordances[:, None]
    log_mass = special.xlogy(discordant, rates) + special.xlog1py(images - discordant, -rates)
    log_mass -= special.gammaln(discordant + 1) + special.gammaln(images - discordant + 1) - special.gammaln(images + 1)
    mass = np.exp(log_mass)
    lost_rates = np.clip((rates + true_drop) / (2 * np.maximum(rates, NEGLIGIBLE)), 0.0, 1.0)
    tails = np.zeros_like(mass)
    tails[:, lost == 0] = 1.0
    open_ended = (mass > NEGLIGIBLE) & (lost > 0) & (lost <= discordant)
    special.betainc(lost, discordant - lost + 1, lost_rates, out=tails, where=open_ended)
    return np.asarray((mass * tails).sum(axis=1))


def _least_lost(least: float, images: int, margin: float, discordant: NDArray[np.int_]) -> NDArray[np.int_]:
    """For each number of discordant images, from how many lost on the score is at least `least`; one more if never."""
    low, high = np.zeros_like(discordant), discordant + 1
    while (low < high).any():
        middle = np.minimum((low + high) // 2, discordant)
        reached = _score(middle, discordant - middle, images, margin) >= least
        searching = low < high
        high = np.where(searching & reached, middle, high)
        low = np.where(searching & ~reached, middle + 1, low)
    return low


def _critical_score(images: int, discordance: float, margin: float, alpha: float) -> float:
    """The score from which on a p-value is at most alpha, where as many images are discordant as is to be expected."""
    discordances = _discordances(round(images * discordance), images, margin, alpha, COARSE_GRID)
    low, high = 0.0, 2 * float(special.ndtri(1 - MISSED * alpha))
    for _ in range(10):
        middle = (low + high) / 2
        above = _tail(middle, images, margin, margin, discordances).max() > (1 - MISSED) * alpha
        low, high = (middle, high) if above else (low, middle)
    return high


def _enough_images(start: int, truth: tuple[float, float, float], alpha: float) -> int:
    """A number of images with which the verdict is reached with a probability of 0.8, sought around `start`."""
    discordance, true_drop, margin = truth

    def power(images: int, critical: float) -> float:
        return float(_tail(critical, images, margin, true_drop, np.array([discordance]))[0])

    critical = _critical_score(start, discordance, margin, alpha)
    low, high = start // 2, start
    while power(high, critical) < POWER and high <= MOST_IMAGES:
        low, high = high, 2 * high
    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, critical) >= POWER else (middle, high)
    # With few discordant images the critical score jumps from one number of images to the next.
    while power(high, _critical_score(high, discordance, margin, alpha)) < POWER and high <= MOST_IMAGES:
        high += max(1, high // 50)
    return high
