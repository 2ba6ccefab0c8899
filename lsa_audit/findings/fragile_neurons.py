"""Neurons that the model cannot lose, and whether the attack goes for them."""

from __future__ import annotations

from ..measurements.targeting import Targeting, dependence, targeting
from ..records import AuditRecord, Finding, Neuron, NeuronTable
from ..units import format_percent

LAYER_LIMIT = 5


def find(record: AuditRecord) -> list[Finding]:
    """One finding for a single layer; of several, one for all together and those with the most fragile neurons."""
    verdicts = targeting(record.neurons)
    judged = list(zip(record.neurons, verdicts, strict=True))
    if len(judged) < 2:
        return [_of_layer(record, table, verdict) for table, verdict in judged]
    ranked = sorted(judged, key=lambda pair: -_count(pair[0]))
    own = [_of_layer(record, table, verdict) for table, verdict in ranked[:LAYER_LIMIT] if _count(table)]
    return [_of_network(record, verdicts), *own]


def _of_network(record: AuditRecord, verdicts: tuple[Targeting, ...]) -> Finding:
    tables = record.neurons
    fragile = sum(_count(table) for table in tables)
    neurons = sum(len(table.neurons) for table in tables)
    estimated = sum(_estimated(table) for table in tables)
    by_estimate = f"; {estimated} of the {neurons} were not dropped on every image, and their classes rest on estimates"
    directions = [verdict.direction for verdict in verdicts]
    message = (
        f"{fragile} of {neurons} neurons in {len(tables)} layers are fragile{by_estimate if estimated else ''}. "
        "The attack moves a neuron the more, the more the model depends on it, in "
        f"{directions.count('more')} of the layers, the less in {directions.count('less')}; not settled in "
        f"{directions.count('not settled')} (rank correlations with the targeting score, Holm-corrected over the "
        "layers)."
    )
    return Finding(rule="fragile-neurons", level="note", subject=record.model.name, message=message)


def _of_layer(record: AuditRecord, table: NeuronTable, verdict: Targeting) -> Finding:
    fragile, estimated = _fragile(table), _estimated(table)
    parts = [f"{len(fragile)} of {len(table.neurons)} neurons {'is' if len(fragile) == 1 else 'are'} fragile"]
    if fragile:
        first = max(fragile, key=lambda neuron: neuron.clean.accuracy_drop)
        by_estimate = " by an estimate" if first.clean.measured < table.samples else ""
        lower = format_percent(first.clean.accuracy_drop)
        parts.append(f"without neuron {first.neuron_index} the {record.accuracy_name} is {lower} lower{by_estimate}")
    if estimated:
        of_all = f"{estimated} of the {len(table.neurons)}"
        parts.append(f"{of_all} were not dropped on every image, and their classes rest on estimates")
    message = f"{'; '.join(parts)}. {_targeted(record, table, verdict)}"
    return Finding(rule="fragile-neurons", level="note", subject=table.layer, message=message)


def _targeted(record: AuditRecord, table: NeuronTable, verdict: Targeting) -> str:
    """Whether the attack goes for the neurons that matter: yes or the reverse only where every correlation says so."""
    known = dependence(table)
    if not known:
        return "Whether the attack targets them cannot be told from these neurons."
    figures = "; ".join(
        f"{entry.between[0].replace('accuracy', record.accuracy_name).replace('_', ' ')} rho {entry.rho:.2f}, "
        f"p {entry.p_value:.2g}"
        for entry in known
    )
    if len(record.neurons) > 1 and verdict.p_adjusted is not None:
        figures = f"{figures}; together p {verdict.p_adjusted:.2g}, Holm-corrected over the layers"
    if verdict.direction == "not settled":
        told = "Whether the attack moves the neurons that the model depends on is not settled"
    else:
        told = f"The attack moves a neuron the {verdict.direction}, the more the model depends on it"
    return f"{told} (rank correlation with the targeting score: {figures}; {known[0].count} neurons)."


def _count(table: NeuronTable) -> int:
    return table.neurons.clean.neuron_class.count("fragile")


def _fragile(table: NeuronTable) -> list[Neuron]:
    return [neuron for neuron in table.neurons if neuron.clean.neuron_class == "fragile"]


def _estimated(table: NeuronTable) -> int:
    return sum(measured < table.samples for measured in table.neurons.clean.measured)
