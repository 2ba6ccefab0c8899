"""What each neuron is worth against how much the attack moves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...records import AuditRecord, Neuron, NeuronClass, NeuronTable
from .. import text
from .drawing import BAD, FONT_SIZE, GOOD, QUIET, SURFACE, Figure, canvas, finish, is_finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 270.0
FIGURE_LIMIT = 4
LABELLED_NEURONS = 4
CLASS_STYLES: dict[NeuronClass, tuple[str, str, float]] = {
    "fragile": (BAD, "^", 8.0),
    "robust": (GOOD, "o", 6.5),
    "null": (QUIET, "x", 5.5),
}


def figures(record: AuditRecord) -> tuple[Figure, ...]:
    """One figure for each layer whose neurons were dropped, the first few of them."""
    if not record.neurons:
        return (Figure("neurons-figure", "Neurons", "No neuron was dropped, so there is no figure of the neurons."),)
    return tuple(_figure(record, table, order) for order, table in enumerate(record.neurons[:FIGURE_LIMIT]))


def _figure(record: AuditRecord, table: NeuronTable, order: int) -> Figure:
    key = f"neurons-figure-{order}"
    layer = text.name(table.layer, 40)
    title = f"Neurons of {layer}"
    placed = [
        neuron for neuron in table.neurons if is_finite(neuron.targeting_score) and is_finite(neuron.accuracy_drop)
    ]
    if not placed:
        return Figure(key, title, f"No neuron of {layer} has a targeting score, so there is no figure of them.")
    with canvas(HEIGHT) as (drawing, (axes,)):
        axes.axhline(0, color=QUIET, linewidth=0.8)
        for kind in CLASS_STYLES:
            _draw_class(axes, kind, [neuron for neuron in placed if neuron.neuron_class == kind])
        axes.margins(0.1, 0.14)
        _label_extremes(axes, placed)
        axes.set_xlabel("targeting score")
        axes.set_ylabel(f"{record.accuracy_name} drop (points)")
        drawing.legend(loc="outside upper left", ncols=3, handletextpad=0.2, columnspacing=1.2, borderaxespad=0)
        unplaced = len(table.neurons) - len(placed)
        parts = [f"One mark a neuron; the numbers are neuron indices of the largest {record.accuracy_name} drops."]
        if unplaced:
            parts.append(f"{text.quantity(unplaced, 'neuron')} without a targeting score left out.")
        more = len(record.neurons) - FIGURE_LIMIT
        if more > 0 and order == FIGURE_LIMIT - 1:
            parts.append(f"{text.quantity(more, 'more layer')} in the tables only.")
        return finish(drawing, key, title, " ".join(parts))


def _draw_class(axes: Axes, kind: NeuronClass, members: Sequence[Neuron]) -> None:
    colour, marker, size = CLASS_STYLES[kind]
    axes.plot(
        [neuron.targeting_score or 0.0 for neuron in members],
        [100 * neuron.accuracy_drop for neuron in members],
        marker,
        color=colour,
        markeredgecolor=colour if marker == "x" else SURFACE,
        markeredgewidth=0.9,
        markersize=size,
        label=f"{kind} ({len(members):,})",
    )


def _label_extremes(axes: Axes, placed: Sequence[Neuron]) -> None:
    """The index beside the neurons with the largest drops, unless it would lie on one set before it."""
    extreme = sorted(placed, key=lambda neuron: (-abs(neuron.accuracy_drop), neuron.neuron_index))
    taken: list[tuple[float, float]] = []
    axes.autoscale_view()
    for neuron in extreme[:LABELLED_NEURONS]:
        position = (neuron.targeting_score or 0.0, 100 * neuron.accuracy_drop)
        across, up = axes.transAxes.inverted().transform(axes.transData.transform(position))
        if neuron.accuracy_drop == 0 or any(abs(across - x) < 0.12 and abs(up - y) < 0.08 for x, y in taken):
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
