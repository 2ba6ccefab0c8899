"""What a limit on an estimated figure comes to, before any correction over several limits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scipy import special

POWER = 0.8
PILOT_CONFIDENCE = 0.8
"""Of the bounds that stand for what is not known when a number of images is announced."""
MOST_IMAGES = 10_000_000
"""A number of images that is larger helps nobody to decide."""


@dataclass(frozen=True)
class Decision:
    """One limit held against one figure.

    Attributes:
        seen: the figure that is limited: a drop, rise, share or mean; NaN without any image.
        low, high: one-sided bounds of it, each at 1 - alpha, found by inverting the tests: a bound reaches the limit
            exactly where the p-value is at most alpha. Infinite where the images say nothing.
        p_broken: p-value of "the limit is kept"; small means that it is broken. In 0..1.
        p_kept: p-value of "the limit is broken"; small means that it is kept. In 0..1.
        images: that the decision rests on.
        alpha: error rate of each of the two decisions, above 0 and below 0.5.
        needed: images with which a verdict is reached with a probability of 0.8; None where it is reached already,
            and where no number is known to do.
    """

    seen: float
    low: float
    high: float
    p_broken: float
    p_kept: float
    images: int
    alpha: float
    needed: int | None


def normal_images(variance: float, distance: float, alpha: float) -> float:
    """Images with which a mean at `distance` from its limit is told from it with power 0.8, if it were normal.

    Args:
        variance: of one image's value.

    Returns:
        Infinite at the limit itself.

    >>> round(normal_images(0.05, 0.02, 0.05))
    773
    """
    if distance == 0:
        return math.inf
    ratio = float(special.ndtri(1 - alpha) + special.ndtri(POWER)) / distance
    return variance * ratio * ratio


def announced(images: int, numbers: Iterable[int | None]) -> int | None:
    """The first of the numbers of images that is above those that there are; None where the last is not known.

    >>> announced(100, [90, 250]), announced(100, [90]), announced(100, [90, None])
    (250, 101, None)
    """
    number: int | None = None
    for number in numbers:
        if number is not None and number > images:
            return number
    return None if number is None else images + 1


def plausible(seen: float, margin: float, error: float) -> tuple[float, float]:
    """True drops or rises to plan for, the first one first: nothing changed, or a change for the worse.

    A change for the worse is planned for by its lower bound, as what was seen may be large by chance alone; but it is
    put no nearer to the margin than no change is, unless it was seen there.

    Args:
        error: standard error of `seen`.

    >>> plausible(0.01, 0.02, 0.01), plausible(0.06, 0.02, 0.05), plausible(0.2, 0.02, 0.0)
    ((0.0, 0.01), (0.04, 0.06), (0.2, 0.2))
    """
    if seen <= margin:
        return 0.0, seen
    bound = seen - float(special.ndtri(PILOT_CONFIDENCE)) * error
    return min(seen, max(2 * margin, bound)), seen
