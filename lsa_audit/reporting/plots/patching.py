"""The patching curve: what returns with each layer over depth, and beside it how far the layer moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...page import text
from ...page.drawing import QUIET, SERIES, SURFACE, Figure, canvas, finish, is_finite
from ...records import AuditRecord, PatchedLayer, Patching
from .. import selection
from ..sections.patching import measure_name, measures
from .layers import LABEL_LIMIT, NAME_WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEY = "patching-figure"


def figures(record: AuditRecord) -> tuple[Figure, ...]:
    """One figure; none where nothing was patched."""
    patching = record.patching
    return () if patching is None else (_figure(record, patching),)


def _figure(record: AuditRecord, patching: Patching) -> Figure:
    label = selection.labels(record).get(patching.perturbation, text.name(patching.perturbation))
    title = f"Lost images that return with each layer under {label}"
    measured = measures(record, patching)
    means = [measured[layer.layer].mean if layer.layer in measured else None for layer in patching.layers]
    known = [(row, mean) for row, mean in enumerate(means) if is_finite(mean)]
    measure = measure_name(record, patching)
    with canvas(_height(len(patching.layers))) as (drawing, (axes,)):
        _draw_shares(axes, patching.layers)
        if known:
            _draw_means(axes.twiny(), known, measure)
        _name_rows(axes, patching.layers)
        drawing.legend(loc="outside upper left", ncols=2, handletextpad=0.4, columnspacing=1.2, borderaxespad=0)
        return finish(drawing, KEY, title, _describe(patching, measure if known else ""))


def _height(layers: int) -> float:
    """Few rows are spread out, many are set close; below, above and over them stand the axes and the legend."""
    row = 6.0 if layers > LABEL_LIMIT else max(15.0, min(30.0, 300.0 / layers))
    return min(max(row * layers, 90.0), 1_200.0) + 115.0


def _draw_shares(axes: Axes, layers: Sequence[PatchedLayer]) -> None:
    colour, rows = SERIES[0], range(len(layers))
    lows, highs = [100 * layer.returned.low for layer in layers], [100 * layer.returned.high for layer in layers]
    axes.plot([100 * layer.returned.value for layer in layers], rows, "-", color=colour, linewidth=0.8)
    axes.hlines(rows, lows, highs, colors=colour, linewidth=1.2)
    for whole, named, face in ((False, "returned", colour), (True, "returned, by construction", SURFACE)):
        places = [(100 * layer.returned.value, row) for row, layer in enumerate(layers) if layer.whole == whole]
        if places:
            values, at = zip(*places, strict=True)
            axes.plot(values, at, "o", color=face, markeredgecolor=colour, markersize=5.5, zorder=3, label=named)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("lost images that return (%)")


def _draw_means(axes: Axes, known: Sequence[tuple[int, float]], measure: str) -> None:
    rows, values = zip(*known, strict=True)
    colour = SERIES[1]
    axes.plot(values, rows, "--s", color=colour, linewidth=0.8, markersize=4, label=f"mean {measure}")
    axes.set_xlim(0, 1.05 * max(values) or 1.0)
    axes.set_xlabel(f"mean {measure}")
    axes.grid(visible=False)
    axes.spines["top"].set(visible=True, color=QUIET)


def _name_rows(axes: Axes, layers: Sequence[PatchedLayer]) -> None:
    labelled = range(0, len(layers), math.ceil(len(layers) / LABEL_LIMIT))
    axes.set_yticks(list(labelled), [text.name(layers[row].layer, NAME_WIDTH) for row in labelled])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(layers) - 0.4, -0.6)


def _describe(patching: Patching, measure: str) -> str:
    parts = [
        f"Layers from the input (top) to the output (bottom); {text.quantity(patching.lost, 'lost image')}; the bars "
        "are 95 % intervals (Wilson)."
    ]
    if any(layer.whole for layer in patching.layers):
        parts.append("Hollow: all returns by construction, as every path leads through the layer.")
    if measure:
        parts.append(f"Squares, upper axis: mean {measure}.")
    return " ".join(parts)
