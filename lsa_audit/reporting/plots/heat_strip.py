"""The neurons over the depth of the network: a strip for each layer, coloured by what the model loses without them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from ...page import text
from ...page.drawing import GRID, QUIET, SERIES, Figure, canvas, finish
from ...records import AuditRecord, NeuronTable
from ..neuron_layers import any_estimated, by_depth, by_drop, count, most_fragile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

KEY = "neurons-strip"
CELLS = 64
NAME_WIDTH = 22
LABEL_LIMIT = 60
LOSS, GAIN = SERIES[1], SERIES[0]
"""Orange and blue, which also those who confuse red and green tell apart, on the page's own ground."""
OPACITIES = (0.35, 0.55, 0.75, 1.0)
NEAR_NOTHING = 0.5
STEPS = tuple(factor * 10.0**power for power in range(-3, 3) for factor in (1, 2, 5))
NAMED_LAYERS = 5


@dataclass(frozen=True)
class _Cell:
    """Neurons beside each other that are drawn alike; `level` 0 is near none, below 0 the model does better without."""

    level: int
    estimated: bool


def figures(record: AuditRecord) -> tuple[Figure, ...]:
    """The strips where more than one layer's neurons were dropped: of a single one the other figure shows more."""
    if len(record.neurons) < 2:
        return ()
    tables = by_depth(record)
    title = f"{text.capitalized(record.accuracy_name)} drop of the neurons over depth"
    largest = max(abs(drop) for table in tables for drop in table.neurons.clean.accuracy_drop)
    if 100 * largest <= STEPS[0]:
        nothing = f"No neuron changes the {record.accuracy_name} when it is dropped, so there is no figure of them."
        return (Figure(KEY, title, nothing),)
    limits = tuple(step for step in STEPS if step < 100 * largest)[-len(OPACITIES) :]
    strips = [_cells(table, limits) for table in tables]
    with canvas(_height(len(tables))) as (drawing, (axes,)):
        for row, cells in enumerate(strips):
            _draw_strip(axes, row, cells)
        _name_rows(axes, [table.layer for table in tables])
        axes.set_xlim(0, 100)
        axes.set_xlabel("neurons of the layer, the largest drop first (%)")
        axes.grid(False)
        _legend(drawing, limits, {cell.level for cells in strips for cell in cells})
        return (finish(drawing, KEY, title, _describe(record, tables)),)


def _cells(table: NeuronTable, limits: Sequence[float]) -> list[_Cell]:
    """At most `CELLS` cells; one that stands for several neurons shows the one with the largest change."""
    ordered, effects = by_drop(table.neurons), table.neurons.clean
    number = min(CELLS, len(ordered))
    cells = []
    for place in range(number):
        members = ordered[place * len(ordered) // number : (place + 1) * len(ordered) // number]
        extreme = max(members, key=lambda member: abs(effects.accuracy_drop[member]))
        drop = 100 * effects.accuracy_drop[extreme]
        level = sum(abs(drop) >= limit for limit in limits)
        cells.append(_Cell(level if drop > 0 else -level, effects.measured[extreme] < table.samples))
    return cells


def _draw_strip(axes: Axes, row: int, cells: Sequence[_Cell]) -> None:
    from matplotlib.patches import Rectangle

    width = 100 / len(cells)
    start = 0.0
    # Those of one colour that were measured come first: the strip is a staircase, not a comb.
    for cell, run in groupby(sorted(cells, key=lambda cell: (-cell.level, cell.estimated))):
        length = width * len(list(run))
        height = 0.36 if cell.estimated else 0.84
        colour, opacity = _paint(cell.level)
        corner = (start, row - height / 2)
        axes.add_artist(Rectangle(corner, length, height, facecolor=colour, alpha=opacity, linewidth=0))
        start += length


def _paint(level: int) -> tuple[str, float]:
    if level == 0:
        return GRID, NEAR_NOTHING
    return LOSS if level > 0 else GAIN, OPACITIES[abs(level) - 1]


def _legend(drawing: Canvas, limits: Sequence[float], used: set[int]) -> None:
    from matplotlib.patches import Patch

    handles = []
    for level in sorted(used | {0}, reverse=True):
        colour, opacity = _paint(level)
        handles.append(Patch(facecolor=colour, alpha=opacity, linewidth=0, label=_range(level, limits)))
    drawing.legend(
        handles=handles,
        loc="outside upper left",
        ncols=3,
        title="drop (points)",
        alignment="left",
        handlelength=1.4,
        handletextpad=0.4,
        columnspacing=1.2,
        borderaxespad=0,
    )


def _range(level: int, limits: Sequence[float]) -> str:
    """What a level stands for, e.g. `2 to 5`, `−1 to −2`; the outermost ones are open."""
    if level == 0:
        return f"nearer to 0 than {limits[0]:g}"
    sign = text.MINUS if level < 0 else ""
    low = f"{sign}{limits[abs(level) - 1]:g}"
    if abs(level) == len(limits):
        return f"{low} and {'below' if level < 0 else 'above'}"
    return f"{low} to {sign}{limits[abs(level)]:g}"


def _height(layers: int) -> float:
    return min(max(min(24.0, 420.0 / layers), 6.0) * layers, 1_200.0) + 130.0


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    labelled = range(0, len(names), math.ceil(len(names) / LABEL_LIMIT))
    axes.set_yticks(list(labelled), [text.name(names[row], NAME_WIDTH) for row in labelled])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)


def _describe(record: AuditRecord, tables: Sequence[NeuronTable]) -> str:
    parts = [
        "A strip for each layer from the input (top) to the output (bottom), its neurons from the largest drop (left) "
        f"to the smallest; orange: the {record.accuracy_name} falls without the neuron, blue: it rises."
    ]
    if any(len(table.neurons) > CELLS for table in tables):
        parts.append("In layers of more neurons than cells, a cell shows the neuron with the largest change.")
    if any(any_estimated(table) for table in tables):
        parts.append("A thin cell was not measured on every image.")
    ranked = [table for table in most_fragile(record)[:NAMED_LAYERS] if count(table, "fragile")]
    listed = ", ".join(f"{text.name(table.layer, 40)} ({count(table, 'fragile'):,})" for table in ranked)
    parts.append(f"Most fragile neurons: {listed}." if listed else "No neuron is fragile.")
    return " ".join(parts)
