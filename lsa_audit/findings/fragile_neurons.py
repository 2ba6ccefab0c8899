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
    """Whether the attack goes for the neurons that matter: yes or the reverse only where every correlation says so."""
    known = [entry for entry in correlations if entry.rho is not None and entry.p_value is not None]
    if not known:
        return "Whether the attack targets them cannot be told from these neurons."
    figures = "; ".join(f"{_words(entry)} rho {entry.rho:.2f}, p {entry.p_value:.2g}" for entry in known)
    signs = {entry.rho > 0 for entry in known if entry.rho is not None}
    significant = all(entry.p_value is not None and entry.p_value < SIGNIFICANCE for entry in known)
    if significant and len(signs) == 1:
        towards = "more" if signs == {True} else "less"
        verdict = f"The attack moves a neuron the {towards} the more the model depends on it"
    else:
        verdict = "Whether the attack moves the neurons that the model depends on is not settled"
    return f"{verdict} (rank correlation with the targeting score: {figures}; {known[0].neurons} neurons)."


def _words(entry: Correlation) -> str:
    return entry.between[0].replace("_", " ")
