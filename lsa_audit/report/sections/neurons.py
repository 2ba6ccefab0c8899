"""Nodal dropout: which neurons the model leans on, and which the attack moves."""

from __future__ import annotations

from ...records import AuditRecord, Correlation, Neuron, NeuronClass, NeuronTable
from .. import selection, text
from ..view import Block, Column, Group, Paragraph, Row, Section, Table, Tone

ROW_LIMIT = 20
SIGNIFICANCE = 0.05
CLASSES: tuple[NeuronClass, ...] = ("fragile", "robust", "null")
CLASS_TONES: dict[NeuronClass, Tone] = {"fragile": "bad", "robust": "", "null": "quiet"}
MEANINGS = (
    "A neuron is fragile when dropping it turns significantly more right answers wrong than wrong ones right (exact "
    "paired McNemar test, Holm-corrected over the layer); it is null when no answer changes, and robust otherwise.",
    "The targeting score is how far the attack moves the neuron's output, as a share of its clean length: "
    "the higher, the more the attack acts there.",
)
DROP_MEANING = (
    "A drop is the figure with the neuron minus the figure without it: positive means that the neuron helps. "
    "Margin: logit of the right class minus the highest other one."
)


def section(record: AuditRecord) -> Section:
    """One group for each layer whose neurons were dropped."""
    if not record.neurons:
        return Section("neurons", "Neurons", (Paragraph("No neuron was dropped."),))
    blocks: list[Block] = [Paragraph(meaning) for meaning in MEANINGS]
    for table in record.neurons:
        sentences = [Paragraph(description(record, table)), Paragraph(f"{class_counts(table)}.")]
        relations = [Paragraph(correlation_sentence(record, correlation)) for correlation in table.correlations]
        parts: tuple[Table | Paragraph, ...] = (*sentences, neuron_table(record, table), *relations)
        blocks.append(Group(f"Neurons of {text.name(table.layer)}", parts))
    return Section("neurons", "Neurons", tuple(blocks))


def description(record: AuditRecord, table: NeuronTable) -> str:
    """Where and how the neurons were dropped, on which images."""
    value = {"zero": "zero", "mean": "its mean"}[table.drop_value]
    where = f"Each neuron was set to {value} at {text.name(table.site)}, on {text.quantity(table.samples, 'image')}"
    if table.perturbation is None:
        return f"{where}, without adversarial images."
    return f"{where}; adversarial images from {selection.labels(record)[table.perturbation]}."


def class_counts(table: NeuronTable) -> str:
    """How many neurons are of each class."""
    counts = {kind: sum(neuron.neuron_class == kind for neuron in table.neurons) for kind in CLASSES}
    listed = ", ".join(f"{number:,} {kind}" for kind, number in counts.items())
    return f"{listed} of {text.quantity(len(table.neurons), 'neuron')}"


def neuron_table(record: AuditRecord, table: NeuronTable, limit: int = ROW_LIMIT) -> Table:
    """The neurons with the largest drops of accuracy, at most `limit` of them, and the count of the rest."""
    named = record.accuracy_name
    columns = (
        Column("neuron", "number"),
        Column("class"),
        Column(f"{named} drop", "number"),
        Column("margin drop", "number"),
        Column(f"adversarial {named} drop", "number"),
        Column("adversarial margin drop", "number"),
        Column("targeting score", "number"),
        Column("p", "number"),
        Column("p adjusted", "number"),
    )
    ordered = sorted(table.neurons, key=lambda neuron: (-neuron.accuracy_drop, neuron.neuron_index))
    rows = tuple(_row(neuron, table) for neuron in ordered[:limit])
    rest = ordered[limit:]
    left_out = ""
    if rest:
        fragile = sum(neuron.neuron_class == "fragile" for neuron in rest)
        left_out = (
            f"{text.quantity(len(rest), 'more neuron')} with smaller drops ({fragile:,} fragile): see record.json."
        )
    note = " ".join(part for part in (left_out, DROP_MEANING) if part)
    return Table(f"Neurons of {text.name(table.layer)}, the largest {named} drop first", columns, rows, note)


def _row(neuron: Neuron, table: NeuronTable) -> Row:
    attacked = table.perturbation is not None
    cells = (
        str(neuron.neuron_index),
        neuron.neuron_class,
        text.percent(neuron.accuracy_drop),
        text.number(neuron.margin_drop),
        text.percent(neuron.adversarial_accuracy_drop) if attacked else text.DASH,
        text.number(neuron.adversarial_margin_drop) if attacked else text.DASH,
        text.number(neuron.targeting_score),
        text.p_value(neuron.p_value),
        text.p_value(neuron.p_adjusted),
    )
    return Row(cells, CLASS_TONES[neuron.neuron_class])


def correlation_sentence(record: AuditRecord, correlation: Correlation) -> str:
    """One rank correlation in plain words with its figures."""
    first, second = (_words(record, side) for side in correlation.between)
    if correlation.rho is None or correlation.p_value is None:
        return f"No rank correlation of {first} and {second}: one side is constant, or there are too few neurons."
    figures = (
        f"Spearman's rho {text.number(correlation.rho)}, permutation p {text.p_value(correlation.p_value)}, "
        f"{text.quantity(correlation.neurons, 'neuron')}"
    )
    if correlation.p_value >= SIGNIFICANCE:
        return f"No significant rank correlation of {first} and {second} ({figures})."
    direction = "larger" if correlation.rho > 0 else "smaller"
    return f"Neurons with a larger {first} tend to have a {direction} {second} ({figures})."


def _words(record: AuditRecord, quantity: str) -> str:
    return text.name(quantity.replace("accuracy", record.accuracy_name).replace("_", " "), 60)
