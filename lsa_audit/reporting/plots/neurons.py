"""What each neuron is worth against how much the attack moves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...page import text
from ...page.drawing import BAD, FONT_SIZE, GOOD, QUIET, SURFACE, Figure, canvas, finish, is_finite
from ...records import AuditRecord, Neuron, NeuronClass, NeuronTable
from ..neuron_layers import any_estimated, by_depth, is_estimated, most_fragile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 270.0
FIGURE_LIMIT = 4
MARK_LIMIT = 1_000
LABELLED_NEURONS = 4
CLASS_STYLES: dict[NeuronClass, tuple[str, str, float]] = {
    "fragile": (BAD, "^", 8.0),
    "robust": (GOOD, "o", 6.5),
    "null": (QUIET, "x", 5.5),
}
ESTIMATED_NULL = "+"
"""A cross cannot be hollow."""


def figures(record: AuditRecord) -> tuple[Figure, ...]:
    """One figure for each of the layers with the most fragile neurons, in the order of execution."""
    if not record.neurons:
        return (Figure("neurons-figure", "Neurons", "No neuron was dropped, so there is no figure of the neurons."),)
    shown = by_depth(record, most_fragile(record)[:FIGURE_LIMIT])
    return tuple(_figure(record, table, order) for order, table in enumerate(shown))


def _figure(record: AuditRecord, table: NeuronTable, order: int) -> Figure:
    key = f"neurons-figure-{order}"
    layer = text.name(table.layer, 40)
    title = f"Neurons of {layer}"
    placed = [neuron for neuron in table.neurons if is_finite(neuron.targeting_score)]
    if not placed:
        return Figure(key, title, f"No neuron of {layer} has a targeting score, so there is no figure of them.")
    drawn = sorted(placed, key=lambda neuron: (-abs(neuron.clean.accuracy_drop), neuron.neuron_index))[:MARK_LIMIT]
    with canvas(HEIGHT) as (drawing, (axes,)):
        axes.axhline(0, color=QUIET, linewidth=0.8)
        for kind in CLASS_STYLES:
            _draw_class(axes, kind, [neuron for neuron in drawn if neuron.clean.neuron_class == kind], table)
        axes.margins(0.1, 0.14)
        _label_extremes(axes, drawn)
        axes.set_xlabel("targeting score")
        axes.set_ylabel(f"{record.accuracy_name} drop (points)")
        drawing.legend(loc="outside upper left", ncols=3, handletextpad=0.2, columnspacing=1.2, borderaxespad=0)
        return finish(drawing, key, title, _describe(record, table, len(placed), len(drawn)))


def _describe(record: AuditRecord, table: NeuronTable, placed: int, drawn: int) -> str:
    parts = [f"One mark a neuron; the numbers are neuron indices of the largest {record.accuracy_name} drops."]
    if any_estimated(table):
        parts.append("A hollow mark or an upright cross is a drop that was not measured on every image.")
    unplaced = len(table.neurons) - placed
    if unplaced:
        parts.append(f"{text.quantity(unplaced, 'neuron')} without a targeting score left out.")
    if placed > drawn:
        parts.append(f"{text.quantity(placed - drawn, 'neuron')} with smaller changes left out.")
    more = len(record.neurons) - FIGURE_LIMIT
    if more > 0:
        parts.append(
            f"One of the {FIGURE_LIMIT} layers with the most fragile neurons; {text.quantity(more, 'more layer')} "
            "without a figure of this kind."
        )
    return " ".join(parts)


def _draw_class(axes: Axes, kind: NeuronClass, members: Sequence[Neuron], table: NeuronTable) -> None:
    """Measured drops filled, estimated ones hollow; the legend counts them together."""
    colour, marker, size = CLASS_STYLES[kind]
    for estimated in (False, True):
        chosen = [neuron for neuron in members if is_estimated(neuron.clean, table) == estimated]
        hollow = estimated or marker == "x"
        axes.plot(
            [neuron.targeting_score or 0.0 for neuron in chosen],
            [100 * neuron.clean.accuracy_drop for neuron in chosen],
            ESTIMATED_NULL if estimated and marker == "x" else marker,
            color=colour,
            markerfacecolor="none" if estimated else colour,
            markeredgecolor=colour if hollow else SURFACE,
            markeredgewidth=0.9,
            markersize=size,
            label=None if estimated else f"{kind} ({len(members):,})",
        )


def _label_extremes(axes: Axes, placed: Sequence[Neuron]) -> None:
    """The index beside the neurons with the largest drops, unless it would lie on one set before it."""
    extreme = sorted(placed, key=lambda neuron: (-abs(neuron.clean.accuracy_drop), neuron.neuron_index))
    taken: list[tuple[float, float]] = []
    axes.autoscale_view()
    for neuron in extreme[:LABELLED_NEURONS]:
        position = (neuron.targeting_score or 0.0, 100 * neuron.clean.accuracy_drop)
        across, up = axes.transAxes.inverted().transform(axes.transData.transform(position))
        if neuron.clean.accuracy_drop == 0 or any(abs(across - x) < 0.12 and abs(up - y) < 0.08 for x, y in taken):
            continue
        taken.append((across, up))
        to_the_left = across > 0.9
        axes.annotate(
            str(neuron.neuron_index),
            position,
            (-8 if to_the_left else 8, 7),
            textcoords="offset points",
            ha="right" if to_the_left else "left",
            va="center",
            fontsize=FONT_SIZE - 1,
        )
