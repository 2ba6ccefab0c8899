"""How a diff says differences, the same in every part of its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ...page import text
from ...page.view import Tone
from ...records.diff import Trend
from ...units import format_points

CLEAN = "clean"
NAME_WIDTH = 40
NAMES = 5
TRENDS: dict[Trend, str] = {"better": "better", "worse": "worse", "no-difference-shown": "no difference shown"}
TONES: dict[Trend, Tone] = {"better": "good", "worse": "bad", "no-difference-shown": "quiet"}

Item = TypeVar("Item")


def points(fraction: float) -> str:
    """A difference of shares in percentage points, with its sign; only what is 0 is shown as 0.

    >>> points(0.02), points(-0.7104), points(0.0004), points(0.0)
    ('+2.0', '−71.0', '+0.04', '0.0')
    """
    return f"{'+' if fraction > 0 else ''}{format_points(fraction)}"


def signed(value: float | None) -> str:
    """A difference of means or counts, with its sign.

    >>> signed(0.25), signed(-2.0), signed(0.0), signed(None)
    ('+0.25', '−2', '0', '–')
    """
    shown = text.number(value)
    return f"+{shown}" if value is not None and value > 0 and shown != text.DASH else shown


def listed(names: Sequence[str], limit: int = NAMES) -> str:
    """Some names, and how many more there are.

    >>> listed(["conv1", "fc"]), listed(["a", "b", "c"], limit=1)
    ('conv1, fc', 'a and 2 more')
    """
    rest = len(names) - limit
    shown = ", ".join(text.name(name, NAME_WIDTH) for name in names[:limit])
    return f"{shown} and {rest:,} more" if rest > 0 else shown


def largest(items: Sequence[Item], limit: int, size: Callable[[Item], float]) -> list[Item]:
    """The largest ones by absolute size, in the order given."""
    ranked = sorted(range(len(items)), key=lambda place: -abs(size(items[place])))
    return [items[place] for place in sorted(ranked[:limit])]


def condition(under: str) -> str:
    """Under what images were judged, to go on a sentence.

    >>> condition("clean"), condition("linf-0.3")
    ('without attack', 'under linf-0.3')
    """
    return "without attack" if under == CLEAN else f"under {text.name(under, NAME_WIDTH)}"
