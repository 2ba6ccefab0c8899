"""Neurons that the model cannot lose, and whether the attack goes for them."""

from __future__ import annotations

from ..records import AuditRecord, Correlation, Finding, NeuronTable
from ..units import format_percent

SIGNIFICANCE = 0.05


def find(record: AuditRecord) -> list[Finding]:
    """One finding for each layer whose neurons were dropped."""
    return [_finding(table) for table in record.neurons]


def _finding(table: NeuronTable) -> Finding:
    fragile = sorted(
        (neuron for neuron in table.neurons if neuron.neuron_class == "fragile"),
        key=lambda neuron: -neuron.accuracy_drop,
    )
    if fragile:
        first = fragile[0]
        worst = f"; without neuron {first.neuron_index} the accuracy is {format_percent(first.accuracy_drop)} lower"
    else:
        worst = ""
    message = f"{len(fragile)} of {len(table.neurons)} neurons are fragile{worst}. {_targeted(table.correlations)}"
    return Finding(rule="fragile-neurons", level="note", subject=table.layer, message=message)


def _targeted(correlations: tuple[Correlation, ...]) -> str:
    by_margin = next((entry for entry in correlations if entry.between[0] == "margin_drop"), None)
    if by_margin is None or by_margin.rho is None or by_margin.p_value is None:
        return "Whether the attack targets them cannot be told from these neurons."
    figures = f"(rho {by_margin.rho:.2f}, p {by_margin.p_value:.2g}, {by_margin.neurons} neurons)"
    if by_margin.p_value >= SIGNIFICANCE:
        return (
            f"No rank correlation was seen between what a neuron is worth and how much the attack moves it {figures}."
        )
    towards = "more" if by_margin.rho > 0 else "less"
    return f"The attack moves neurons the {towards} the more the model depends on them {figures}."
