"""How much of the nodal dropout was measured, what it cost, and how good the estimates of the rest are."""

from __future__ import annotations

from ...page import text
from ...records import AuditRecord, Screening
from ..neuron_layers import MARK, any_estimated

LEGEND = (
    f"{MARK} marks a figure that rests on estimates for some or all of its images; p-values of neurons count changes "
    "on measured images alone."
)


def sentences(record: AuditRecord) -> tuple[str, ...]:
    """What was measured at what cost and how well the estimates agree, then the legend of their mark; what applies."""
    found = []
    if record.screening is not None:
        found.append(f"{_measured(record.screening)} {_cost(record.screening)} {_agreement(record.screening)}")
    if any(any_estimated(table) or any_estimated(table, adversarial=True) for table in record.neurons):
        found.append(LEGEND)
    return tuple(found)


def _measured(screening: Screening) -> str:
    if screening.pairs_measured == screening.pairs:
        return f"All {text.quantity(screening.neurons, 'neuron')} were dropped on every clean and adversarial image."
    share = text.percent(screening.pairs_measured / screening.pairs)
    return (
        f"{screening.neurons_measured:,} of {text.quantity(screening.neurons, 'neuron')} were dropped on every clean "
        f"and adversarial image; in all, {screening.pairs_measured:,} of {screening.pairs:,} pairs of neuron and image "
        f"were measured ({share}); the others are estimated to first order from gradients."
    )


def _cost(screening: Screening) -> str:
    budget = "no limit was set" if screening.budget is None else f"the budget was {text.number(screening.budget)}"
    cost = f"This cost as much as {text.number(screening.spent)} whole forwards an image ({budget})"
    if screening.pairs_measured == screening.pairs:
        return f"{cost}."
    return f"{cost}; to measure every pair would cost {text.number(screening.exact)}."


def _agreement(screening: Screening) -> str:
    """How well the estimates order the neurons, all of them or a random sample."""
    correlation = screening.agreement
    if correlation.rho is None or correlation.p_value is None:
        return "How well estimated and measured margin drops agree cannot be told: too few neurons, or all alike."
    whole = screening.pairs_measured == screening.pairs
    return (
        f"Estimated and measured margin drops of {'' if whole else 'a random sample of '}"
        f"{text.quantity(correlation.count, 'neuron')}: Spearman's rho {text.number(correlation.rho)} "
        f"(1: the same order), permutation p {text.p_value(correlation.p_value)}."
    )
