"""How the sentences of the gates say numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..records.snapshot import Snapshot
from ..stats.decision import Decision
from ..units import format_percent


def moved(before: float, after: float, said: Callable[[float], str] = format_percent) -> str:
    """How a figure went, a share of images if nothing else is said.

    >>> moved(0.756, 0.06), moved(0.5, 0.5)
    ('fell from 75.6 % to 6.0 %', 'stayed at 50.0 %')
    """
    if after == before:
        return f"stayed at {said(before)}"
    return f"{'fell' if after < before else 'rose'} from {said(before)} to {said(after)}"


def same_images(paired: int, baseline: Snapshot) -> str:
    """On which images two runs were compared."""
    there = baseline.clean.count
    if paired == there:
        return "on the same image" if paired == 1 else f"on the same {paired:,} images"
    return f"on the {paired:,} of {there:,} images that the run has"


def confidence(alpha: float) -> str:
    """Of a one-sided bound.

    >>> confidence(0.05)
    '95 %'
    """
    return f"{100 * (1 - alpha):g} %"


def bounds(decision: Decision, said: Callable[[float], str], unit: str = "") -> str:
    """Between which values the figure lies, and how sure that is."""
    if not math.isfinite(decision.low + decision.high):
        return "too few images to bound it"
    return f"{said(decision.low)} to {said(decision.high)}{unit} at {confidence(decision.alpha)} each way"
