"""How values of a record become the words and numbers that every report shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..records import Estimate
from ..units import MINUS as MINUS
from ..units import format_number, format_percent
from ..units import quantity as quantity

DASH = "\N{EN DASH}"
DASH_MEANING = f"{DASH} stands for a figure that does not apply or could not be computed."
NAME_LIMIT = 160
MEASURE_NAMES = {
    "relative-error": "relative error",
    "batch-relative-error": "batch relative error",
    "l2": "L2 distance",
    "linf": "Linf distance",
    "cosine": "cosine distance",
}


def name(text: str, limit: int = NAME_LIMIT) -> str:
    r"""A name on one line: control and direction characters as visible escapes, the middle cut beyond `limit`.

    >>> name("a\nb\x1b[31m")
    'a\\nb\\x1b[31m'
    """
    visible = "".join(character if character.isprintable() else _escape(character) for character in text)
    return shorten(visible, limit) or DASH


def sentence(text: str) -> str:
    """Prose on one line: white space collapsed, control and direction characters as visible escapes."""
    return name(" ".join(text.split()), limit=2_000)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def shorten(text: str, width: int) -> str:
    """At most `width` characters (3 or more), cut in the middle: both ends of a layer's name tell it apart.

    >>> shorten("features.denseblock4.conv1", 12)
    'feat…4.conv1'
    """
    if len(text) <= width:
        return text
    kept = width - 1
    tail = kept * 2 // 3
    return f"{text[: kept - tail]}…{text[len(text) - tail :]}"


def number(value: float | None) -> str:
    """Three significant digits; a dash for None and for what is not finite.

    >>> number(0.83142), number(12345.6), number(None), number(-0.02)
    ('0.831', '12,346', '–', '−0.02')
    """
    if value is None or not math.isfinite(value):
        return DASH
    return format_number(value)


def percent(fraction: float | None) -> str:
    """A percentage that may be negative; a dash for None and for what is not finite."""
    if fraction is None or not math.isfinite(fraction):
        return DASH
    return f"{MINUS}{format_percent(-fraction)}" if fraction < 0 else format_percent(fraction)


def interval(estimate: Estimate) -> str:
    """The interval of a share of images, e.g. `89.6–93.1 %`."""
    low, high = percent(estimate.low), percent(estimate.high)
    return DASH if DASH in (low, high) else f"{low.removesuffix(' %')}{DASH}{high}"


def share(estimate: Estimate) -> str:
    """A share of images in % with its interval, for narrow columns, e.g. `91.5 86.8–94.6`."""
    return f"{percent(estimate.value)} {interval(estimate)}".replace(" %", "")


def number_range(low: float | None, high: float | None) -> str:
    """The interval of a measure, e.g. `0.81–0.86`."""
    shown = number(low), number(high)
    return DASH if DASH in shown else f"{shown[0]}{DASH}{shown[1]}"


def scaled(value: int) -> str:
    """A large count in thousands (k), millions (M), billions (G) or more.

    >>> scaled(40_810_000), scaled(999)
    ('40.8 M', '999')
    """
    size = float(value)
    for suffix in ("", " k", " M", " G", " T"):
        if size < 999.5:
            return f"{size:.3g}{suffix}"
        size /= 1000
    return f"{size:.3g} P"


def p_value(value: float | None) -> str:
    """Three decimals, never 0.

    >>> p_value(0.0001), p_value(0.0421)
    ('< 0.001', '0.042')
    """
    if value is None or not math.isfinite(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(value: int | None) -> str:
    """An integer with thousands separated."""
    return DASH if value is None else f"{value:,}"


def shape(dimensions: Sequence[int] | None) -> str:
    """`3x32x32`; a dash where the shape is unknown, `scalar` where it is empty."""
    if dimensions is None:
        return DASH
    return "x".join(str(size) for size in dimensions) or "scalar"


def digest(sha256: str | None) -> str:
    """The first twelve characters of a hash."""
    if not sha256:
        return DASH
    return name(sha256) if len(sha256) <= 12 else f"{name(sha256[:12])}…"


def duration(seconds: float) -> str:
    """Seconds below two minutes, minutes and seconds above.

    >>> duration(3.21), duration(192)
    ('3.2 s', '3 min 12 s')
    """
    if not math.isfinite(seconds):
        return DASH
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def measure_name(measure: str) -> str:
    """What a measure is called on axes and in table heads."""
    return MEASURE_NAMES.get(measure) or name(measure.replace("-", " "), limit=40)


def capitalized(text: str) -> str:
    """The first letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]
