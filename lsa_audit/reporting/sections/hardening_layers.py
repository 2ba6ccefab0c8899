"""The layers of a hardening: how far each one moves under the same attack before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...page import text
from ...page.view import Block, Column, Paragraph, Row, Section, Table
from ...records.hardening import Hardening, LayerShift
from .layers import MARK, MEASURE_MEANINGS

ROW_LIMIT = 200
NAMES = 3
NAME_WIDTH = 40
NOTHING = "No layer was measured."


def section(record: Hardening) -> Section:
    """Where the vulnerability went, then every layer in depth order."""
    blocks: list[Block] = [Paragraph(MEASURE_MEANINGS["relative-error"])]
    blocks += [Paragraph(said) for said in sentences(record)] or [Paragraph(NOTHING)]
    if record.layers:
        blocks.append(_table(record))
    return Section("layers", "Layers", tuple(blocks))


def sentences(record: Hardening) -> Iterator[str]:
    """Whether the highest error and the most vulnerable layers moved, and where the error rose."""
    both = measured(record)
    if not both:
        if any(entry.before is not None for entry in record.layers):
            yield "The layers were measured before the training only: no file was written."
        return
    yield _highest(both)
    yield from _vulnerable(record.layers)
    yield _risen(both)


def measured(record: Hardening) -> list[tuple[str, float, float]]:
    """Name, before and after of the layers that have both, in the order of execution."""
    return [
        (entry.layer, entry.before, entry.after)
        for entry in record.layers
        if entry.before is not None and entry.after is not None
    ]


def _highest(both: Sequence[tuple[str, float, float]]) -> str:
    first = max(both, key=lambda entry: entry[1])
    last = max(both, key=lambda entry: entry[2])
    if first[0] == last[0]:
        where = f"The highest relative error stays at {text.name(first[0], NAME_WIDTH)}"
        return f"{where}: {text.number(first[1])} before, {text.number(first[2])} after."
    return (
        f"The vulnerability moved: the highest relative error was at {text.name(first[0], NAME_WIDTH)} "
        f"({text.number(first[1])}) before and is at {text.name(last[0], NAME_WIDTH)} ({text.number(last[2])}) after."
    )


def _vulnerable(layers: Sequence[LayerShift]) -> Iterator[str]:
    changes = (
        ("New among the most vulnerable layers", [e.layer for e in layers if e.in_mvl_after and not e.in_mvl_before]),
        ("No longer among them", [e.layer for e in layers if e.in_mvl_before and not e.in_mvl_after]),
    )
    if not any(names for _, names in changes):
        yield "The list of the most vulnerable layers (MVL) is the same."
    for said, names in changes:
        if names:
            yield f"{said}: {_listed(names)}."


def _risen(both: Sequence[tuple[str, float, float]]) -> str:
    risen = sorted((entry for entry in both if entry[2] > entry[1]), key=lambda entry: entry[1] - entry[2])
    of = f"of {text.quantity(len(both), 'layer')}"
    if not risen:
        return f"The error rose in none {of}."
    named = [f"{text.name(name, NAME_WIDTH)} ({text.number(low)} to {text.number(high)})" for name, low, high in risen]
    return f"The error rose in {len(risen):,} {of}: {_joined(named)}."


def _listed(names: Sequence[str]) -> str:
    return _joined([text.name(name, NAME_WIDTH) for name in names])


def _joined(parts: Sequence[str]) -> str:
    rest = len(parts) - NAMES
    return ", ".join(parts[:NAMES]) + (f" and {rest:,} more" if rest > 0 else "")


def _table(record: Hardening) -> Table:
    columns = (
        Column("layer", "name"),
        Column("before", "number"),
        Column("after", "number"),
        Column("difference", "number"),
        Column("regularised", "label"),
    )
    shown, rest = record.layers, len(record.layers) - ROW_LIMIT
    if rest > 0:
        highest = sorted(shown, key=lambda entry: max(entry.before or 0.0, entry.after or 0.0))[rest:]
        kept = {entry.layer for entry in highest}
        shown = tuple(entry for entry in shown if entry.layer in kept)
    attack = text.DASH if record.layer_attack is None else text.name(record.layer_attack)
    caption = f"Mean relative error of every layer under {attack}, in depth order ({MARK} marks the most vulnerable)"
    note = f"{text.quantity(rest, 'layer')} with lower errors: see hardening.json." if rest > 0 else ""
    return Table(caption, columns, tuple(_row(entry) for entry in shown), note)


def _row(entry: LayerShift) -> Row:
    change = None if entry.before is None or entry.after is None else entry.after - entry.before
    cells = (
        text.name(entry.layer),
        _marked(entry.before, entry.in_mvl_before),
        _marked(entry.after, entry.in_mvl_after),
        text.number(change),
        "yes" if entry.chosen else text.DASH,
    )
    return Row(cells, "warning" if change is not None and change > 0 else "")


def _marked(value: float | None, vulnerable: bool) -> str:
    return f"{MARK} {text.number(value)}" if vulnerable else text.number(value)
