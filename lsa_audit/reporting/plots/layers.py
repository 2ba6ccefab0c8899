"""The measure of every layer under every perturbation, one figure for each epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...page import text
from ...page.drawing import BAD, MARKERS, SERIES, Figure, canvas, finish, is_finite
from ...records import AuditRecord, Sustainability
from ...units import format_epsilon
from .. import selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NO_MEASURE = "No layer has a measure, so there is no figure of the layers."
FIGURE_LIMIT = 4
NAME_WIDTH = 22
LABEL_LIMIT = 60
RING: dict[str, Any] = {
    "markersize": 10,
    "markerfacecolor": "none",
    "markeredgecolor": BAD,
    "markeredgewidth": 1.3,
}
LOG_FROM = 30.0
"""Largest over smallest value from which a log scale shows more."""


@dataclass(frozen=True)
class _Point:
    row: float
    value: float
    low: float
    high: float
    vulnerable: bool


def figures(record: AuditRecord) -> tuple[Figure, ...]:
    """One figure for each norm and epsilon, that of the strongest attack first, then from the largest epsilon down."""
    groups = _groups(record)
    drawn = tuple(_figure(record, _Panel(order, *group)) for order, group in enumerate(groups[:FIGURE_LIMIT]))
    return drawn or (Figure("layers-figure-0", "Layers", NO_MEASURE),)


@dataclass(frozen=True)
class _Panel:
    """One figure: the perturbations of one budget."""

    order: int
    budget: str
    entries: list[Sustainability]


def _groups(record: AuditRecord) -> list[tuple[str, list[Sustainability]]]:
    """The entries of the leading one's measure by budget, in the order of the figures."""
    first = selection.leading(record)
    if first is None:
        return []
    perturbations = {result.perturbation.id: result.perturbation for result in record.attacks}
    several_norms = len({perturbation.norm for perturbation in perturbations.values()}) > 1
    groups: dict[tuple[float, str], list[Sustainability]] = {}
    for entry in record.sustainability:
        known = perturbations.get(entry.perturbation)
        if entry.measure == first.measure:
            budget = (-known.epsilon, known.norm) if known else (0.0, "")
            groups.setdefault(budget, []).append(entry)
    ordered = sorted(groups.items(), key=lambda item: (first not in item[1], item[0]))
    return [
        (f"{norm} {format_epsilon(-minus)}" if several_norms else format_epsilon(-minus), entries)
        for (minus, norm), entries in ordered
    ]


def _figure(record: AuditRecord, panel: _Panel) -> Figure:
    key = f"layers-figure-{panel.order}"
    lead = selection.leading(record, panel.entries) or panel.entries[0]
    shown = panel.entries[: len(SERIES)]
    names = list(dict.fromkeys(layer.layer for entry in shown for layer in entry.layers))
    values = [layer.mean for entry in shown for layer in entry.layers if is_finite(layer.mean)]
    measure = text.measure_name(lead.measure)
    title = f"{text.capitalized(measure)} per layer at epsilon {panel.budget}"
    if not values:
        return Figure(key, title, NO_MEASURE)
    scale = _Scale.of(values)
    labels = {result.perturbation.id: selection.attack_name(result.perturbation, 24) for result in record.attacks}
    with canvas(_height(len(names), len(shown))) as (drawing, (axes,)):
        for place, entry in enumerate(shown):
            shift = 0.0 if len(shown) == 1 else 0.64 * (place / (len(shown) - 1) - 0.5)
            points = _points(entry, names, shift, scale)
            _draw_points(axes, points, place, labels.get(entry.perturbation, text.name(entry.perturbation, 24)))
        if any(entry.mvl for entry in shown):
            # No point: the ring's entry comes last in the legend.
            axes.plot([], [], "o", label="most vulnerable (MVL)", **RING)
        _name_rows(axes, names, lead.mvl)
        _name_measure(axes, measure, scale)
        drawing.legend(loc="outside upper left", ncols=2, handletextpad=0.4, columnspacing=1.2, borderaxespad=0)
        return finish(drawing, key, title, _describe(record, lead, panel, scale))


def _height(layers: int, perturbations: int) -> float:
    """Room for every mark of a row; few rows are spread out, many are set close."""
    row = 6.0 if layers > LABEL_LIMIT else max(min(44.0, 420.0 / layers), min(4.0 * perturbations + 8.0, 24.0))
    legend = 17.0 * math.ceil((perturbations + 1) / 2)
    return min(max(row * layers, 90.0), 1_200.0) + legend + 50.0


@dataclass(frozen=True)
class _Scale:
    log: bool
    least: float

    @staticmethod
    def of(values: Sequence[float]) -> _Scale:
        positive = [value for value in values if value > 0]
        log = bool(positive) and min(values) >= 0 and max(positive) / min(positive) > LOG_FROM
        return _Scale(log, min(positive) / 2 if log else min(values))

    def place(self, value: float) -> float:
        """Where a value is drawn: 0 has no place on a log scale and goes to the left edge."""
        return max(value, self.least) if self.log else value


def _points(entry: Sustainability, names: Sequence[str], shift: float, scale: _Scale) -> list[_Point]:
    rows = {name: row for row, name in enumerate(names)}
    return [
        _Point(
            rows[layer.layer] + shift,
            scale.place(layer.mean),
            scale.place(layer.low if is_finite(layer.low) else layer.mean),
            scale.place(layer.high if is_finite(layer.high) else layer.mean),
            layer.layer in entry.mvl,
        )
        for layer in entry.layers
        if is_finite(layer.mean)
    ]


def _draw_points(axes: Axes, points: Sequence[_Point], place: int, label: str) -> None:
    colour = SERIES[place]
    rows, values = [point.row for point in points], [point.value for point in points]
    axes.hlines(rows, [point.low for point in points], [point.high for point in points], colors=colour, linewidth=1.2)
    axes.plot(values, rows, MARKERS[place], color=colour, markeredgecolor=colour, markersize=4.5, label=label)
    vulnerable = [point for point in points if point.vulnerable]
    axes.plot([point.value for point in vulnerable], [point.row for point in vulnerable], "o", zorder=4, **RING)


def _name_rows(axes: Axes, names: Sequence[str], vulnerable: Sequence[str]) -> None:
    """Every layer's name where they fit, else the vulnerable ones' and those of every few rows between them."""
    every = math.ceil(len(names) / LABEL_LIMIT)
    labelled: list[int] = []
    for row in (*(names.index(layer) for layer in vulnerable if layer in names), *range(0, len(names), every)):
        if all(abs(row - other) >= every for other in labelled):
            labelled.append(row)
    axes.set_yticks(labelled, [text.name(names[row], NAME_WIDTH) for row in labelled])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _name_measure(axes: Axes, measure: str, scale: _Scale) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_xlabel(f"mean {measure}{' (log scale)' if scale.log else ''}")
    if not scale.log:
        axes.set_xlim(left=min(0.0, scale.least))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        return
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    steps = (1.0, 3.0) if math.log10(high / low) < 3 else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _describe(record: AuditRecord, lead: Sustainability, panel: _Panel, scale: _Scale) -> str:
    labels = selection.labels(record)
    parts = [
        "Layers from the input (top) to the output (bottom); the bars are 95 % bootstrap intervals, often narrower "
        "than the mark; a ring marks a most vulnerable layer.",
    ]
    if scale.log and any(layer.mean == 0 for entry in panel.entries for layer in entry.layers):
        parts.append("A value of 0 is drawn on the left edge.")
    listed = ", ".join(text.name(layer, 40) for layer in lead.mvl[:5])
    more = f" and {len(lead.mvl) - 5} more" if len(lead.mvl) > 5 else ""
    parts.append(f"Under {labels[lead.perturbation]}: {listed or 'no layer above the threshold'}{more}.")
    hidden = len(panel.entries) - len(SERIES)
    if hidden > 0:
        parts.append(f"{text.quantity(hidden, 'more perturbation')} in the table only.")
    budgets = len(_groups(record)) - FIGURE_LIMIT
    if budgets > 0 and panel.order == FIGURE_LIMIT - 1:
        parts.append(f"{text.quantity(budgets, 'more epsilon')} in the table only.")
    return " ".join(parts)
