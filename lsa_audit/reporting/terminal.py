"""What a scan prints: the same figures as the other reports, cut to what fits 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from ..page import text
from ..page.view import Column, Row, Table, Tone
from ..records import AuditRecord, FilterCurve, GraphInfo, NeuronTable, Sustainability
from . import selection
from .sections import (
    accuracy,
    attack_health,
    distances,
    ensembles,
    findings,
    inventory,
    layers,
    neuron_table,
    neurons,
    overview,
    provenance,
    screening,
)

WIDTH = 80
INDENT = 2
MINIMUM_NAME = 12
WIDEST_TEXT = 18
NEURON_ROWS = 10
LAYER_ROWS = 5
NAMES_IN_A_LINE = 3
STYLES: dict[Tone, str] = {"": "", "bad": "red", "warning": "yellow", "good": "green", "quiet": "dim"}


def summary(record: AuditRecord) -> RenderableType:
    """The scan on at most 80 columns: accuracies, vulnerable layers, fragile neurons, findings, what is missing."""
    parts: list[RenderableType] = [
        Text(overview.title(record), style="bold"),
        Text(overview.subtitle(record), style="dim"),
        Text(_subject(record), style="dim"),
    ]
    for notice in overview.notices(record):
        parts.append(Text(f"\n{notice.title}. {notice.text}", style=STYLES[notice.tone]))
    parts += [*_accuracy(record), *_layers(record), *_neurons(record), *_patching(record), *_filters(record)]
    parts += [*_findings(record), *_missing(record)]
    return Constrain(Group(*parts), WIDTH)


def _subject(record: AuditRecord) -> str:
    weights = f"Weights: {text.sentence(record.model.weights)}."
    normalisation = f"Normalisation: {text.sentence(record.model.normalization_source)}."
    return f"{weights} {normalisation} Data: {text.sentence(record.data.selection)}.{_converted(record)}"


def _converted(record: AuditRecord) -> str:
    conversion = record.model.conversion
    if conversion is None:
        return ""
    return f" {text.sentence(conversion.format)}; {text.sentence(provenance.parity(conversion))}."


def _accuracy(record: AuditRecord) -> Iterator[RenderableType]:
    yield _heading(text.capitalized(record.accuracy_name))
    grid = accuracy.accuracy_grid(record)
    if grid is None:
        yield _table(accuracy.accuracy_table(record))
    else:
        yield _line("", f"clean {text.percent(record.clean.value)}, 95 % interval {text.interval(record.clean)}")
        yield _table(grid)
        yield _line("", grid.note, "dim")
    verdict, tone = attack_health.line(record)
    yield _line("attack health: ", verdict, STYLES[tone])
    for sentence in (*ensembles.summaries(record), *distances.sentences(record)):
        yield _line("", sentence)


def _layers(record: AuditRecord) -> Iterator[RenderableType]:
    first = selection.leading(record)
    if first is None:
        return
    named = selection.labels(record)
    yield _heading("Most vulnerable layers (MVL)")
    figures = ", ".join(f"{label} {value}" for label, value in layers.statistics(first)[1:5])
    measure = text.measure_name(first.measure)
    yield _line("", f"{named[first.perturbation]}: {layers.mvl_sentence(first)}. Mean {measure}: {figures}.")
    if first.mvl:
        table = layers.mvl_table(first)
        yield _table(table.pick("layer", measure, "95 % interval", "in resamples", "amplification"))
    alike: dict[str, list[str]] = {}
    for entry in record.sustainability:
        if entry is not first:
            alike.setdefault(_short_list(entry), []).append(named[entry.perturbation])
    for listed, perturbations in alike.items():
        yield _line("", f"{listed} \N{LEFTWARDS ARROW} {_joined(perturbations)}")


def _joined(labels: Sequence[str]) -> str:
    """`fgsm 0.1, 0.2; pgd 0.1` from labels that end with their epsilon."""
    epsilons: dict[str, list[str]] = {}
    for label in labels:
        name, _, epsilon = label.rpartition(" ")
        epsilons.setdefault(name, []).append(epsilon)
    return "; ".join(f"{name} {', '.join(values)}".strip() for name, values in epsilons.items())


def _short_list(entry: Sustainability) -> str:
    if not entry.mvl:
        highest = text.DASH if entry.highest is None else text.name(entry.highest, 22)
        return f"none above the threshold (highest: {highest})"
    listed = ", ".join(text.name(layer, 22) for layer in entry.mvl[:NAMES_IN_A_LINE])
    rest = len(entry.mvl) - NAMES_IN_A_LINE
    return f"{listed} and {rest} more" if rest > 0 else listed


def _neurons(record: AuditRecord) -> Iterator[RenderableType]:
    if not record.neurons:
        return
    if len(record.neurons) == 1:
        yield from _single_layer(record, record.neurons[0])
    else:
        yield _heading(f"Neurons of {text.quantity(len(record.neurons), 'layer')}")
        yield _line("", neurons.network_sentence(record))
        yield from _several_layers(record)
    for sentence in screening.sentences(record):
        yield _line("", sentence)


def _several_layers(record: AuditRecord) -> Iterator[RenderableType]:
    shown = neurons.layer_table(record, LAYER_ROWS)
    drop = f"largest {record.accuracy_name} drop"
    yield _table(shown.pick("layer", "neurons", "fragile", "fragile under attack", "Gini", drop, "of neuron"))
    left_out = neurons.rest_sentence(record, LAYER_ROWS)
    if left_out:
        yield _line("", left_out, "dim")


def _single_layer(record: AuditRecord, table: NeuronTable) -> Iterator[RenderableType]:
    yield _heading(f"Neurons of {text.name(table.layer, 40)}")
    yield _line("", f"{neuron_table.class_counts(table)}. {neuron_table.description(record, table)}")
    shown = neuron_table.neuron_table(record, table, NEURON_ROWS)
    drop = f"{record.accuracy_name} drop"
    yield _table(shown.pick("neuron", "class", drop, "95 % interval", "margin drop", "targeting score", "p adjusted"))
    rest = len(table.neurons) - len(shown.rows)
    if rest > 0:
        yield _line("", f"{text.quantity(rest, 'more neuron')} with smaller drops.", "dim")
    for correlation in table.correlations:
        yield _line("", neuron_table.correlation_sentence(record, table, correlation))


def _patching(record: AuditRecord) -> Iterator[RenderableType]:
    if record.patching is None:
        return
    attack = selection.labels(record).get(record.patching.perturbation) or text.name(record.patching.perturbation)
    yield _heading(f"Activation patching, {text.quantity(record.patching.lost, 'image')} lost to {attack}")
    partial = [layer for layer in record.patching.layers if not layer.whole]
    if partial:
        most = max(partial, key=lambda layer: layer.returned.value)
        returned = f"{text.percent(most.returned.value)} ({text.interval(most.returned)})"
        told = f"{text.name(most.layer, 40)} put back returns {returned} of them"
        yield _line("", f"{told}, the most of {text.quantity(len(partial), 'layer')}.")
    whole = len(record.patching.layers) - len(partial)
    if whole:
        yield _line(
            "", f"{text.quantity(whole, 'layer')} left out, which every path leads through: all returns.", "dim"
        )


def _filters(record: AuditRecord) -> Iterator[RenderableType]:
    if record.filters is None:
        return
    yield _heading("Synaptic filters of the network, scores clean / attack")
    curves = record.filters.network.curves
    yield _line("", f"{'; '.join(_scores(curve) for curve in curves)}. Below 0 fragile, above 0 antifragile.")


def _scores(curve: FilterCurve) -> str:
    return f"{curve.filter} {text.number(curve.clean_score)} / {text.number(curve.adversarial_score)}"


def _findings(record: AuditRecord) -> Iterator[RenderableType]:
    entries = findings.entries(record)
    if not entries:
        return
    yield _heading("Findings")
    for entry in entries:
        style = STYLES[findings.LEVEL_TONES[entry.level]]
        told = f"{text.shorten(entry.about, 40)}: {entry.sentence} ({text.shorten(entry.rule, 40)})"
        yield _line(f"{entry.level}: ", told, style)
    yield _line("", findings.EXPLAINED, "dim")


def _missing(record: AuditRecord) -> Iterator[RenderableType]:
    entries = selection.skipped(record)
    if not entries:
        return
    yield _heading(f"Not measured ({len(entries):,})")
    for entry in entries:
        yield _line("", f"{text.name(entry.what, 40)}: {text.sentence(entry.detail)} ({text.name(entry.reason, 40)})")


def layers_table(graph: GraphInfo) -> RenderableType:
    """The layers in the order of execution with a totals row, on 80 columns; long names are cut in the middle."""
    parts: list[RenderableType] = [_table(inventory.layer_inventory(graph), inventory.totals(graph), indent=0, gap=1)]
    parts += [
        _line("", f"not walked: {text.name(entry.what, 40)}: {text.sentence(entry.detail)}") for entry in graph.skipped
    ]
    return Constrain(Group(*parts), WIDTH)


def _heading(title: str) -> RenderableType:
    return Text(f"\n{title}", style="bold")


def _line(lead: str, rest: str, style: str = "") -> RenderableType:
    """An indented paragraph; the style is that of the lead where there is one."""
    words = Text.assemble((lead, style), (rest, "" if lead else style), overflow="fold")
    return Padding(words, (0, 0, 0, INDENT), expand=False)


def _table(table: Table, footer: Row | None = None, indent: int = INDENT, gap: int = 2) -> RenderableType:
    """A table of fixed widths: names share what the other columns leave, and are cut in the middle to fit."""
    rows = (*table.rows, footer) if footer else table.rows
    widths = [_width(column, [row.cells[place] for row in rows]) for place, column in enumerate(table.columns)]
    names = [place for place, column in enumerate(table.columns) if column.kind in ("name", "label")]
    taken = sum(width for place, width in enumerate(widths) if place not in names)
    left = WIDTH - indent - gap * (len(widths) - 1) - taken
    for place in names:
        widths[place] = max(MINIMUM_NAME, min(widths[place], left // len(names)))
    # The box itself sets one space between columns.
    padding = (0, gap - 1, 0, 0)
    shown = RichTable(box=box.SIMPLE_HEAD, padding=padding, pad_edge=False, show_edge=False, show_footer=bool(footer))
    for place, (column, width) in enumerate(zip(table.columns, widths, strict=True)):
        last = text.shorten(footer.cells[place], width) if footer else ""
        side: Literal["right", "left"] = "right" if column.kind == "number" else "left"
        shown.add_column(column.title, Text(last), justify=side, width=width, overflow="fold")
    for row in table.rows:
        cells = (text.shorten(cell, widths[place]) if place in names else cell for place, cell in enumerate(row.cells))
        shown.add_row(*(Text(cell, style=STYLES[row.tone]) for cell in cells))
    return Padding(shown, (0, 0, 0, indent), expand=False)


def _width(column: Column, cells: Sequence[str]) -> int:
    longest = max((len(cell) for cell in cells), default=0)
    if column.kind == "text":
        longest = min(longest, WIDEST_TEXT)
    return max(longest, *(len(word) for word in column.title.split()))
