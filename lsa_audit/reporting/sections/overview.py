"""The head of a report: title, notices, key figures."""

from __future__ import annotations

from ...page import text
from ...page.view import Card, Notice
from ...records import AuditRecord
from .. import selection
from ..neuron_layers import any_estimated, marked
from . import findings

CAUSES = 3


def title(record: AuditRecord) -> str:
    """The model and the data."""
    return f"{text.name(record.model.name)} on {text.name(record.data.name)}"


def subtitle(record: AuditRecord) -> str:
    """When, how long, by which version, on how many images."""
    images = text.quantity(record.data.samples, "image")
    timing = f"{text.name(record.timing.started_at)}, {text.duration(record.timing.duration_s)}"
    return f"Robustness audit of {images}. {timing}, lsa-audit {text.name(record.tool_version)}."


def notices(record: AuditRecord) -> tuple[Notice, ...]:
    """What changes the meaning of every figure below: unreliable attacks, self labels, missing parts."""
    found = []
    if record.inconclusive:
        found.append(Notice("The robustness figures are inconclusive, not robust", _causes(record), "bad"))
    if record.labels.source == "self":
        found.append(Notice("The figures are prediction stability, not accuracy", _self_labels(record), "warning"))
    if record.data.enlarged is not None:
        found.append(Notice(text.capitalized(text.sentence(record.data.enlarged)), _enlarged(record), "warning"))
    missing = len(selection.skipped(record))
    if missing:
        where = 'Each is listed with its reason under "Not measured".'
        found.append(Notice(f"{text.quantity(missing, 'thing')} could not be measured", where, "quiet"))
    return tuple(found)


def _causes(record: AuditRecord) -> str:
    """The first error of each rule, a few of them, and how many more there are."""
    errors = [entry for entry in findings.entries(record) if entry.group == "attack-health" and entry.level == "error"]
    shown = errors[:CAUSES]
    parts = ["An attack that did not work properly cannot show that a model resists it."]
    parts += [f"{entry.about}: {entry.message}" for entry in shown]
    rest = sum(entry.more + 1 for entry in errors) - len(shown)
    if rest:
        parts.append(f"And {rest:,} more in the findings.")
    return " ".join(parts)


def _enlarged(record: AuditRecord) -> str:
    shape = "x".join(str(size) for size in record.model.input_shape)
    return f"The model takes {shape}. Epsilon counts in pixels of the enlarged images."


def _self_labels(record: AuditRecord) -> str:
    meaning = "Right means here: the same answer as the model gives on the unperturbed image."
    return f"{meaning} Reason: {text.sentence(record.labels.reason)}"


def cards(record: AuditRecord) -> tuple[Card, ...]:
    """The four key figures."""
    clean = Card(
        f"Clean {record.accuracy_name}",
        text.percent(record.clean.value),
        f"{text.interval(record.clean)} (95 % Wilson), {record.clean.count:,} of {record.clean.total:,}",
    )
    return (clean, _robust_card(record), _layer_card(record), _neuron_card(record))


def _robust_card(record: AuditRecord) -> Card:
    named = "Robust accuracy" if record.accuracy_name == "accuracy" else text.capitalized(record.accuracy_name)
    result = selection.strongest(record)
    if result is None:
        return Card(named, text.DASH, "no perturbation was run", "quiet")
    label = selection.labels(record)[result.perturbation.id]
    estimate = result.robust_accuracy
    note = f"{text.interval(estimate)} (95 % Wilson), {estimate.count:,} of {estimate.total:,}"
    tried = sum(other.perturbation.kind == result.perturbation.kind for other in record.attacks)
    if tried > 1:
        note = f"{note}; the strongest of {text.quantity(tried, result.perturbation.kind)}"
    if record.inconclusive:
        return Card(f"{named}, {label}", text.percent(estimate.value), f"inconclusive; {note}", "warning")
    return Card(f"{named}, {label}", text.percent(estimate.value), note)


def _layer_card(record: AuditRecord) -> Card:
    label = "Most vulnerable layer"
    entry = selection.leading(record)
    if entry is None:
        return Card(label, text.DASH, "no layer was measured", "quiet")
    under = f"under {selection.labels(record)[entry.perturbation]}"
    if entry.mu is None or entry.sigma is None:
        return Card(label, text.DASH, f"mu and sigma could not be computed {under}", "quiet")
    if not entry.mvl:
        highest = text.DASH if entry.highest is None else text.name(entry.highest, 40)
        return Card(label, "none", f"no layer above the threshold {under}; highest: {highest}")
    first = next((layer for layer in entry.layers if layer.layer == entry.mvl[0]), None)
    measured = "" if first is None else f"{text.measure_name(entry.measure)} {text.number(first.mean)} "
    return Card(label, text.name(entry.mvl[0], 40), f"{measured}{under}; {len(entry.mvl)} in the list", is_name=True)


def _neuron_card(record: AuditRecord) -> Card:
    if not record.neurons:
        return Card("Fragile neurons", text.DASH, "no neuron was dropped", "quiet")
    neurons = sum(len(table.neurons) for table in record.neurons)
    fragile = sum(table.neurons.clean.neuron_class.count("fragile") for table in record.neurons)
    where = text.name(record.neurons[0].layer, 40) if len(record.neurons) == 1 else f"{len(record.neurons)} layers"
    estimated = any(any_estimated(table) for table in record.neurons)
    note = f"dropped one at a time in {where}{'; partly estimated' if estimated else ''}"
    return Card("Fragile neurons", marked(f"{fragile:,} of {neurons:,}", estimated), note)
