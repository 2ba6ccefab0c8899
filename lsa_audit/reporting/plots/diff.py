"""The shares of right images before and after, one line for each condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...page import text
from ...page.drawing import BAD, GOOD, QUIET, SERIES, SURFACE, Figure, canvas, finish
from ...records.diff import AccuracyChange, RunDiff, Trend
from ..sections.diff_words import TRENDS, largest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEY = "diff-figure"
ROW_LIMIT = 30
NAME_WIDTH = 20
ROW_HEIGHT = 22.0
LINES: dict[Trend, str] = {"better": GOOD, "worse": BAD, "no-difference-shown": QUIET}


def figures(diff: RunDiff) -> tuple[Figure, ...]:
    """Before and after of clean, balls and perturbations, in the order of the table."""
    title = f"{text.capitalized(diff.accuracy_name)} before and after"
    rows = largest(diff.accuracy, ROW_LIMIT, lambda entry: entry.difference)
    with canvas(ROW_HEIGHT * len(rows) + 95.0) as (drawing, (axes,)):
        _draw(axes, rows)
        axes.set_xlabel(f"{diff.accuracy_name} (%)")
        drawing.legend(loc="outside upper left", ncols=3, handletextpad=0.4, columnspacing=1.2, borderaxespad=0)
        return (finish(drawing, KEY, title, _description(diff, len(rows))),)


def _draw(axes: Axes, rows: Sequence[AccuracyChange]) -> None:
    labelled: set[Trend] = set()
    for place, row in enumerate(rows):
        ends = [100 * row.before.value, 100 * row.after.value]
        label = "_" if row.trend in labelled else TRENDS[row.trend]
        labelled.add(row.trend)
        axes.plot(ends, [place, place], "-", color=LINES[row.trend], linewidth=2.2, label=label, zorder=2)
    places = range(len(rows))
    before, after = ([100 * getattr(row, side).value for row in rows] for side in ("before", "after"))
    axes.plot(before, places, "o", color=SERIES[0], markerfacecolor=SURFACE, markersize=6.5, label="before", zorder=3)
    axes.plot(after, places, "o", color=SERIES[0], markersize=4.5, label="after", zorder=4)
    axes.set_yticks(list(places), [text.name(row.id, NAME_WIDTH) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-4, 104)
    axes.set_xticks([0, 25, 50, 75, 100])


def _description(diff: RunDiff, drawn: int) -> str:
    rest = len(diff.accuracy) - drawn
    cut = f" The {drawn} that changed most; {rest:,} more are in the table." if rest else ""
    return (
        f"On the same {text.quantity(diff.images, 'image')}: an open circle before, a filled one after. The line says "
        f"whether a difference is shown.{cut}"
    )
