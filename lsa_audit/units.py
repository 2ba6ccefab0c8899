"""How numbers are read from people and shown to people: epsilons in pixel units, fractions as percentages."""

from __future__ import annotations

import math
from fractions import Fraction

from .errors import UsageError

PIXEL_LEVELS = 255
MINUS = "\N{MINUS SIGN}"
DARK = 64 / PIXEL_LEVELS
"""Largest pixel value of a set of images that looks as if white was lost."""


def parse_epsilon(text: str | float | int, norm: str = "linf") -> float:
    """A perturbation budget in pixel units from `0.03`, `8/255` or a number.

    Args:
        text: the epsilon as written.
        norm: `linf` (range 0..1) or `l2` (range 0..inf).

    Raises:
        UsageError: not a number, negative, or above 1 for `linf`.

    >>> parse_epsilon("8/255") == 8 / 255
    True
    """
    try:
        numerator, _, denominator = str(text).strip().partition("/")
        epsilon = float(numerator) / float(denominator) if denominator else float(numerator)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"epsilon {text!r} is not a number", "write it as 0.03 or 8/255") from None
    if not math.isfinite(epsilon) or epsilon < 0:
        raise UsageError(f"epsilon {text} is not a distance", "it must be a finite number, 0 or above")
    if norm == "linf" and epsilon > 1:
        hint = f"images lie in [0, 1]; did you mean {format_epsilon(epsilon / PIXEL_LEVELS)}?"
        raise UsageError(f"epsilon {text} is larger than the whole pixel range", hint)
    return epsilon


def format_epsilon(epsilon: float) -> str:
    """`8/255` where the value is a whole or half number of pixel levels up to 64, else a short decimal.

    >>> format_epsilon(8 / 255), format_epsilon(0.3), format_epsilon(0.0)
    ('8/255', '0.3', '0')
    """
    levels = epsilon * PIXEL_LEVELS
    nearest = round(levels * 2) / 2
    short = f"{epsilon:.6g}"
    if (
        0 < nearest <= 64
        and abs(levels - nearest) < 1e-9
        and Fraction(short) != Fraction(epsilon).limit_denominator(100)
    ):
        return f"{nearest:g}/{PIXEL_LEVELS}"
    return short


def format_dark(largest: float) -> str | None:
    """What the largest pixel value of all images says of their range, as a clause; None for values that are usual.

    >>> format_dark(15 / 255), format_dark(0.5), format_dark(0.02)
    ('the largest pixel value is 15 of 255: are these 4-bit images?', None, 'the largest pixel value is 0.02 of 1')
    """
    if largest > DARK:
        return None
    levels = round(largest * PIXEL_LEVELS)
    if not math.isclose(largest * PIXEL_LEVELS, levels, abs_tol=1e-4):
        return f"the largest pixel value is {largest:.3g} of 1"
    said = f"the largest pixel value is {levels} of {PIXEL_LEVELS}"
    bits = (levels + 1).bit_length() - 1 if (levels + 1).bit_count() == 1 else levels.bit_length() - 1
    return f"{said}: are these {bits}-bit images?" if levels > 1 and levels in (2**bits - 1, 2**bits) else said


def format_percent(fraction: float, digits: int = 1) -> str:
    """A fraction as a percentage that never rounds into 0 or 100.

    >>> format_percent(0.9996), format_percent(1.0), format_percent(0.0002)
    ('99.9 %', '100.0 %', '0.1 %')
    """
    step = 10.0**-digits
    shown = round(100 * fraction, digits)
    if fraction > 0 and shown <= 0:
        shown = step
    if fraction < 1 and shown >= 100:
        shown = 100 - step
    return f"{shown:.{digits}f} %"


def format_points(fraction: float) -> str:
    """A difference of shares in percentage points, with as many decimals as it takes to tell it from 0.

    >>> format_points(0.696), format_points(-0.003), format_points(0.0004), format_points(0.0)
    ('69.6', '−0.3', '0.04', '0.0')
    """
    shown = f"{abs(100 * fraction):.1f}"
    if fraction and shown == "0.0":
        shown = f"{abs(100 * fraction):.1g}"
    return f"{MINUS}{shown}" if fraction < 0 else shown


def format_number(value: float) -> str:
    """A finite number with three significant digits, or whole with separators from a thousand on.

    >>> format_number(0.83142), format_number(-2.0), format_number(12345.6)
    ('0.831', '−2', '12,346')
    """
    magnitude = abs(value)
    shown = f"{magnitude:,.0f}" if 1_000 <= magnitude < 1e7 else f"{magnitude:.3g}"
    return f"{MINUS}{shown}" if value < 0 else shown


def quantity(count: int, noun: str) -> str:
    """A counted noun.

    >>> quantity(1, "layer"), quantity(1200, "layer")
    ('1 layer', '1,200 layers')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
