"""How far the layers move before and after, and how many of their neurons are fragile."""

from __future__ import annotations

from collections.abc import Iterator

from ...page import text
from ...page.view import Block, Column, Group, Paragraph, Row, Section, Table
from ...records.diff import LayerChange, LayerTable, NeuronChange, RunDiff
from .diff_words import NAME_WIDTH, TONES, TRENDS, largest, listed, signed

LAYER_LIMIT = 60
NEURON_LIMIT = 60
PAIRED = (
    "Means over the shared images on which both runs have a value, with the 95 % interval of the paired difference "
    "(Student's t) and its p after Holm over the layers. A layer that moves further under the same attack is worse."
)
UNPAIRED = (
    "One side keeps no values of single images here, so the means are those of each whole run and nothing is said of "
    "chance."
)
OTHER_ETA = "The lists of most vulnerable layers were made with different eta, so they are not compared."
WHOLE = "The lists of the most vulnerable layers are those of each whole run."
NOTHING = "No layer was measured in both runs in the same way."
NEURONS = "Fragile neurons are counted on all clean images of each run; nothing is said of chance."


def layers(diff: RunDiff) -> Section:
    """Each perturbation under which both runs measured layers; the last attack's table is open."""
    title = "Layers"
    if not diff.layers:
        return Section("layers", title, (Paragraph(NOTHING),))
    kept = open_table(diff)
    ordered = sorted(diff.layers, key=lambda table: table is not kept)
    return Section("layers", title, tuple(_group(table, folded=table is not kept) for table in ordered))


def open_table(diff: RunDiff) -> LayerTable | None:
    """The one that matters most: under the last attack, else the last one."""
    attacks = {entry.id for entry in diff.accuracy if entry.kind == "attack"}
    under_attack = [table for table in diff.layers if table.perturbation in attacks]
    return next(reversed(under_attack or diff.layers), None)


def size(change: LayerChange) -> float:
    """How much a layer changed, to sort by; nothing where that is not known."""
    return change.difference or 0.0


def sentences(table: LayerTable) -> Iterator[str]:
    """What changed under one perturbation."""
    under, of = f"Under {text.name(table.perturbation, NAME_WIDTH)}", f"of {text.quantity(len(table.layers), 'layer')}"
    if table.paired:
        further, less = (sum(each.trend == word for each in table.layers) for word in ("worse", "better"))
        yield f"{under} attacked images move further in {further:,} {of}, less far in {less:,}."
    else:
        risen = sum(each.difference is not None and each.difference > 0 for each in table.layers)
        yield f"{under} the mean is higher in {risen:,} {of}; whether by chance is not known."
    yield _lists(table)
    for word, names in (("before", table.only_before), ("after", table.only_after)):
        if names:
            yield f"Layers that only the run {word} has: {listed(names)}."


def _lists(table: LayerTable) -> str:
    if not table.lists_compared:
        return OTHER_ETA
    new = [name for name in table.mvl_after if name not in table.mvl_before]
    gone = [name for name in table.mvl_before if name not in table.mvl_after]
    parts = []
    if new:
        parts.append(f"New among the most vulnerable layers: {listed(new)}.")
    if gone:
        parts.append(f"No longer among {'them' if new else 'the most vulnerable layers'}: {listed(gone)}.")
    return " ".join(parts) or "The list of the most vulnerable layers is the same."


def _group(table: LayerTable, *, folded: bool) -> Group:
    blocks: list[Table | Paragraph] = [Paragraph(said) for said in sentences(table)]
    blocks.append(Paragraph(f"{PAIRED if table.paired else UNPAIRED} {WHOLE}"))
    if table.layers:
        blocks.append(_table(table))
    return Group(f"Under {text.name(table.perturbation)}", tuple(blocks), folded=folded)


def _table(table: LayerTable) -> Table:
    columns = (
        Column("layer", "name"),
        Column("before", "number"),
        Column("after", "number"),
        Column("difference", "number"),
        Column("95 % interval", "number"),
        Column("p", "number"),
        Column("most vulnerable", "label"),
        Column("verdict", "label"),
    )
    shown = largest(table.layers, LAYER_LIMIT, size)
    rest = len(table.layers) - len(shown)
    note = f"The {LAYER_LIMIT} layers that changed most; {rest:,} more are in the JSON." if rest else ""
    caption = f"Mean {text.measure_name(table.measure)} under {text.name(table.perturbation)}"
    rows = tuple(_row(each, table.lists_compared) for each in shown)
    full = Table(caption, columns, rows, note)
    return full if table.paired else full.pick("layer", "before", "after", "difference", "most vulnerable")


def _row(change: LayerChange, lists_compared: bool) -> Row:
    named = {(False, True): "new", (True, False): "no longer", (True, True): "both", (False, False): text.DASH}
    interval = f"{signed(change.low)} to {signed(change.high)}"
    cells = (
        text.name(change.layer),
        text.number(change.before),
        text.number(change.after),
        signed(change.difference),
        text.DASH if change.low is None else interval,
        text.p_value(change.p_adjusted),
        named[change.in_mvl_before, change.in_mvl_after] if lists_compared else text.DASH,
        text.DASH if change.trend is None else TRENDS[change.trend],
    )
    return Row(cells, "" if change.trend is None else TONES[change.trend])


def neurons(diff: RunDiff) -> Section:
    """Fragile neurons of every layer in which one of the runs dropped neurons."""
    title = "Fragile neurons"
    if not diff.neurons:
        return Section("neurons", title, (Paragraph("Neither run dropped neurons."),))
    columns = (
        Column("layer", "name"),
        Column("fragile before", "number"),
        Column("fragile after", "number"),
        Column("difference", "number"),
    )
    shown = largest(diff.neurons, NEURON_LIMIT, lambda each: risen(each) or 0.0)
    rest = len(diff.neurons) - len(shown)
    note = f"The {NEURON_LIMIT} layers that changed most; {rest:,} more are in the JSON." if rest else ""
    table = Table("Fragile neurons before and after", columns, tuple(map(_neurons, shown)), note)
    blocks: tuple[Block, ...] = (Paragraph(NEURONS), table)
    return Section("neurons", title, blocks)


def risen(change: NeuronChange) -> int | None:
    """By how many the fragile neurons of a layer rose; None where only one run dropped neurons there."""
    if change.fragile_before is None or change.fragile_after is None:
        return None
    return change.fragile_after - change.fragile_before


def counted(diff: RunDiff) -> Iterator[str]:
    """How the fragile neurons changed over the layers that both runs dropped neurons in, in one sentence."""
    both = [each for each in diff.neurons if risen(each) is not None]
    if both:
        before, after = (sum(getattr(each, side) for each in both) for side in ("fragile_before", "fragile_after"))
        yield f"Fragile neurons in {text.quantity(len(both), 'layer')}: {before:,} before, {after:,} after."


def _neurons(change: NeuronChange) -> Row:
    rise = risen(change)
    cells = (
        text.name(change.layer),
        _of(change.fragile_before, change.neurons_before),
        _of(change.fragile_after, change.neurons_after),
        signed(rise),
    )
    return Row(cells, "quiet" if not rise else "")


def _of(fragile: int | None, neurons: int | None) -> str:
    return "none dropped" if fragile is None else f"{fragile:,} of {text.count(neurons)}"
