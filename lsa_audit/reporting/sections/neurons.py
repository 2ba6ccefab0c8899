"""Nodal dropout: which neurons the model leans on, and which the attack moves; every layer, then the neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...page import text
from ...page.view import Block, Column, Paragraph, Row, Section, Table
from ...records import AuditRecord, NeuronTable
from ..neuron_layers import CLASSES, any_estimated, by_depth, by_drop, count, is_estimated, marked, most_fragile
from . import neuron_table, screening

if TYPE_CHECKING:
    from ...measurements.targeting import Targeting

LAYER_LIMIT = 60
TABLE_LIMIT = 12
OPEN_TABLES = 3
MEANINGS = (
    "A neuron is fragile when dropping it turns significantly more right answers wrong than wrong ones right (exact "
    "paired McNemar test, Holm-corrected over the layer); it is null when no answer changes, and robust otherwise.",
    "The targeting score is how far the attack moves the neuron's output, as a share of its clean length: "
    "the higher, the more the attack acts there.",
    "A drop is the figure with the neuron minus the figure without it: positive means that the neuron helps. "
    "Margin: logit of the right class minus the highest other one.",
)
SETTLED = (
    "settled where the rank correlations of the targeting score with the drops on clean images, those that are known, "
    "agree in sign and are all significant, Holm-corrected over the layers"
)
COLUMNS_MEANING = (
    "Fragile, robust and null: on clean images. Gini: how unequal the drops above 0 are (0 all alike, near 1 all in "
    "one neuron). Measured: neurons dropped on every clean and adversarial image."
)
TARGETING_MEANING = (
    "Rho (p): Spearman's rank correlation over the layer's neurons and its permutation p. P over all layers: the "
    "larger p of the two on clean images, 1 where they differ in sign, Holm-corrected over the layers. Attack moves: "
    "a neuron the more, or the less, the more the model depends on it."
)


def section(record: AuditRecord) -> Section:
    """What was measured, a row for each layer, and the neurons of the layers with the most fragile ones."""
    if not record.neurons:
        return Section("neurons", "Neurons", (Paragraph("No neuron was dropped."),))
    blocks: list[Block] = [Paragraph(meaning) for meaning in MEANINGS]
    blocks += [Paragraph(sentence) for sentence in screening.sentences(record)]
    if len(record.neurons) > 1:
        blocks.append(Paragraph(network_sentence(record)))
    blocks += [layer_table(record), targeting_table(record)]
    shown = by_depth(record, most_fragile(record)[:TABLE_LIMIT])
    blocks += [neuron_table.group(record, table, folded=len(shown) > OPEN_TABLES) for table in shown]
    left_out = rest_sentence(record, TABLE_LIMIT)
    if left_out:
        blocks.append(Paragraph(left_out))
    return Section("neurons", "Neurons", tuple(blocks))


def network_sentence(record: AuditRecord) -> str:
    """In how many layers the attack moves what the model depends on."""
    directions = [verdict.direction for verdict in _targeting(record.neurons)]
    return (
        f"In {directions.count('more'):,} of {text.quantity(len(directions), 'layer')} the attack moves a neuron the "
        f"more, the more the model depends on it, in {directions.count('less'):,} the less, and in "
        f"{directions.count('not settled'):,} this is not settled ({SETTLED})."
    )


def layer_table(record: AuditRecord, limit: int = LAYER_LIMIT) -> Table:
    """A row a layer in the order of execution; beyond the limit only those with the most fragile neurons."""
    columns = (
        Column("layer", "name"),
        Column("neurons", "number"),
        *(Column(kind, "number") for kind in CLASSES),
        Column("share fragile", "number"),
        Column("fragile under attack", "number"),
        Column("Gini", "number"),
        Column(f"largest {record.accuracy_name} drop", "number"),
        Column("95 % interval", "number"),
        Column("of neuron", "number"),
        Column("measured", "number"),
    )
    rows = tuple(_row(table) for table in by_depth(record, most_fragile(record)[:limit]))
    note = f"{COLUMNS_MEANING} {rest_sentence(record, limit)}".rstrip()
    return Table("Neurons of every layer in depth order", columns, rows, note)


def targeting_table(record: AuditRecord) -> Table:
    """The same layers: how their drops go with the targeting score."""
    named = record.accuracy_name
    columns = (
        Column("layer", "name"),
        Column(f"{named} drop", "number"),
        Column("margin drop", "number"),
        Column(f"adversarial {named} drop", "number"),
        Column("adversarial margin drop", "number"),
        Column("p over all layers", "number"),
        Column("attack moves"),
    )
    verdicts = dict(zip((table.layer for table in record.neurons), _targeting(record.neurons), strict=True))
    shown = by_depth(record, most_fragile(record)[:LAYER_LIMIT])
    rows = tuple(_targeting_row(table, verdicts[table.layer]) for table in shown)
    note = f"{TARGETING_MEANING} {rest_sentence(record, LAYER_LIMIT)}".rstrip()
    return Table("Rank correlation of the drops with the targeting score, rho (p)", columns, rows, note)


def rest_sentence(record: AuditRecord, shown: int) -> str:
    """How many layers are left out where only those with the most fragile neurons are shown; empty where none is."""
    rest = most_fragile(record)[shown:]
    if not rest:
        return ""
    fragile = text.quantity(sum(count(table, "fragile") for table in rest), "fragile neuron")
    return f"{text.quantity(len(rest), 'more layer')} with {fragile} in all: see record.json."


def _targeting(tables: Sequence[NeuronTable]) -> tuple[Targeting, ...]:
    # Imported here: it takes scipy, which takes a second to load and is not needed to import the reports.
    from ...measurements.targeting import targeting

    return targeting(tables)


def _row(table: NeuronTable) -> Row:
    estimated = any_estimated(table)
    neurons = table.neurons
    under_attack = neurons.adversarial.neuron_class.count("fragile")
    first = neurons[by_drop(neurons)[0]]
    largest = (text.percent(first.clean.accuracy_drop), neuron_table.drop_interval(first.clean))
    both = zip(neurons.clean.measured, neurons.adversarial.measured, strict=True)
    measured = sum(min(pair) >= table.samples for pair in both)
    cells = (
        text.name(table.layer),
        f"{len(table.neurons):,}",
        *(marked(f"{count(table, kind):,}", estimated) for kind in CLASSES),
        marked(text.percent(table.fragile_share), estimated),
        marked(f"{under_attack:,}", any_estimated(table, adversarial=True)),
        marked(text.number(table.gini), estimated),
        *(marked(figure, is_estimated(first.clean, table)) for figure in largest),
        str(first.neuron_index),
        f"{measured:,}",
    )
    return Row(cells, "bad" if count(table, "fragile") else "")


def _targeting_row(table: NeuronTable, verdict: Targeting) -> Row:
    figures = {
        entry.between[0]: f"{text.number(entry.rho)} ({text.p_value(entry.p_value)})"
        for entry in table.correlations
        if entry.rho is not None
    }
    estimated = any_estimated(table)
    cells = (
        text.name(table.layer),
        *(marked(figures.get(drop, text.DASH), estimated) for drop in ("accuracy_drop", "margin_drop")),
        *(
            marked(figures.get(drop, text.DASH), any_estimated(table, adversarial=True))
            for drop in ("adversarial_accuracy_drop", "adversarial_margin_drop")
        ),
        marked(text.p_value(verdict.p_adjusted), estimated),
        verdict.direction,
    )
    return Row(cells, "" if verdict.direction != "not settled" else "quiet")
