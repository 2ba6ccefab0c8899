"""The neurons of one layer: the largest drops first, and how they go with the attack."""

from __future__ import annotations

from ...page import text
from ...page.view import Column, Group, Paragraph, Row, Table, Tone
from ...records import AuditRecord, Correlation, DropEffect, Neuron, NeuronClass, NeuronTable
from .. import selection
from ..neuron_layers import CLASSES, any_estimated, by_drop, count, is_estimated, marked

ROW_LIMIT = 20
SIGNIFICANCE = 0.05
CLASS_TONES: dict[NeuronClass, Tone] = {"fragile": "bad", "robust": "", "null": "quiet"}


def group(record: AuditRecord, table: NeuronTable, folded: bool) -> Group:
    """What a report shows of one layer's neurons."""
    relations = [Paragraph(correlation_sentence(record, table, entry)) for entry in table.correlations]
    sentences = [Paragraph(description(record, table)), Paragraph(f"{class_counts(table)}.")]
    fragile = marked(f"{count(table, 'fragile'):,}", any_estimated(table))
    title = f"Neurons of {text.name(table.layer)}: {fragile} of {len(table.neurons):,} fragile"
    return Group(title, (*sentences, neuron_table(record, table), *relations), folded)


def description(record: AuditRecord, table: NeuronTable) -> str:
    """Where and how the neurons were dropped, on which images."""
    value = {"zero": "zero", "mean": "its mean"}[table.drop_value]
    return (
        f"Each neuron was set to {value} at {text.name(table.site)}, on {text.quantity(table.samples, 'image')}; "
        f"adversarial images from {selection.labels(record)[table.perturbation]}."
    )


def class_counts(table: NeuronTable) -> str:
    """How many neurons are of each class on clean images, and how many of them were not measured in full."""
    listed = ", ".join(f"{count(table, kind):,} {kind}" for kind in CLASSES)
    counts = f"{listed} of {text.quantity(len(table.neurons), 'neuron')}"
    unmeasured = sum(measured < table.samples for measured in table.neurons.clean.measured)
    return f"{counts}, {unmeasured:,} of them not dropped on every image" if unmeasured else counts


def neuron_table(record: AuditRecord, table: NeuronTable, limit: int = ROW_LIMIT) -> Table:
    """The neurons with the largest drops of accuracy, at most `limit` of them, and the count of the rest."""
    named = record.accuracy_name
    columns = (
        Column("neuron", "number"),
        Column("class"),
        Column(f"{named} drop", "number"),
        Column("95 % interval", "number"),
        Column("margin drop", "number"),
        Column("p adjusted", "number"),
        Column("targeting score", "number"),
        Column("adversarial class"),
        Column(f"adversarial {named} drop", "number"),
        Column("adversarial 95 % interval", "number"),
        Column("adversarial margin drop", "number"),
        Column("adversarial p adjusted", "number"),
        Column("measured, clean / adversarial", "number"),
    )
    ordered = by_drop(table.neurons)
    rows = tuple(_row(table.neurons[place], table) for place in ordered[:limit])
    rest = ordered[limit:]
    note = ""
    if rest:
        fragile = sum(table.neurons.clean.neuron_class[place] == "fragile" for place in rest)
        note = f"{text.quantity(len(rest), 'more neuron')} with smaller drops ({fragile:,} fragile): see record.json."
    return Table(f"Neurons of {text.name(table.layer)}, the largest {named} drop first", columns, rows, note)


def _row(neuron: Neuron, table: NeuronTable) -> Row:
    clean, adversarial = neuron.clean, neuron.adversarial
    cells = (
        str(neuron.neuron_index),
        *_effect(clean, table),
        text.p_value(clean.p_adjusted),
        text.number(neuron.targeting_score),
        *_effect(adversarial, table),
        text.p_value(adversarial.p_adjusted),
        f"{clean.measured:,} / {adversarial.measured:,}",
    )
    return Row(cells, CLASS_TONES[clean.neuron_class])


def _effect(effect: DropEffect, table: NeuronTable) -> tuple[str, str, str, str]:
    """Class, accuracy drop, interval and margin drop."""
    shown = (
        effect.neuron_class,
        text.percent(effect.accuracy_drop),
        drop_interval(effect),
        text.number(effect.margin_drop),
    )
    first, second, third, fourth = (marked(part, is_estimated(effect, table)) for part in shown)
    return first, second, third, fourth


def drop_interval(effect: DropEffect) -> str:
    """The interval of an accuracy drop, which may be negative: `−1.2 to 8.0 %`."""
    return f"{text.percent(effect.low).removesuffix(' %')} to {text.percent(effect.high)}"


def correlation_sentence(record: AuditRecord, table: NeuronTable, correlation: Correlation) -> str:
    """One rank correlation in plain words with its figures."""
    first, second = (_words(record, side) for side in correlation.between)
    if correlation.rho is None or correlation.p_value is None:
        return f"No rank correlation of {first} and {second}: one side is constant, or there are too few neurons."
    estimated = any_estimated(table, adversarial=correlation.between[0].startswith("adversarial"))
    figures = (
        f"Spearman's rho {text.number(correlation.rho)}, permutation p {text.p_value(correlation.p_value)}, "
        f"{text.quantity(correlation.count, 'neuron')}{', drops partly estimated' if estimated else ''}"
    )
    if correlation.p_value >= SIGNIFICANCE:
        return f"No significant rank correlation of {first} and {second} ({figures})."
    direction = "larger" if correlation.rho > 0 else "smaller"
    return f"Neurons with a larger {first} tend to have a {direction} {second} ({figures})."


def _words(record: AuditRecord, quantity: str) -> str:
    return text.name(quantity.replace("accuracy", record.accuracy_name).replace("_", " "), 60)
