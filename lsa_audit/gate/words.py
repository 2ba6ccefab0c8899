"""How the sentences of the gates say numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..records.snapshot import Snapshot
from ..units import format_percent
from .decision import Decision

MINUS = "\N{MINUS SIGN}"


def points(fraction: float) -> str:
    """A difference of shares in percentage points, with as many decimals as it takes to tell it from 0.

    >>> points(0.696), points(-0.003), points(0.0004), points(0.0)
    ('69.6', '−0.3', '0.04', '0.0')
    """
    shown = f"{abs(100 * fraction):.1f}"
    if fraction and shown == "0.0":
        shown = f"{abs(100 * fraction):.1g}"
    return f"{MINUS}{shown}" if fraction < 0 else shown


def number(value: float) -> str:
    """A mean, a rise or a count.

    >>> number(0.83142), number(-2.0), number(12345.6)
    ('0.831', '−2', '12,346')
    """
    shown = f"{value:,.0f}" if 1_000 <= abs(value) < 1e7 else f"{value:.3g}"
    return shown.replace("-", MINUS)


def moved(before: float, after: float, said: Callable[[float], str] = format_percent) -> str:
    """How a figure went, a share of images if nothing else is said.

    >>> moved(0.756, 0.06), moved(0.5, 0.5)
    ('fell from 75.6 % to 6.0 %', 'stayed at 50.0 %')
    """
    if after == before:
        return f"stayed at {said(before)}"
    return f"{'fell' if after < before else 'rose'} from {said(before)} to {said(after)}"


def counted(value: int, noun: str) -> str:
    """A counted noun.

    >>> counted(1, "layer"), counted(1200, "layer")
    ('1 layer', '1,200 layers')
    """
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


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
