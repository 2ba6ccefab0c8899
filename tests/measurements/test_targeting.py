"""Whether the attack goes for what the model depends on, layer by layer."""

from __future__ import annotations

import pytest

from lsa_audit.measurements.targeting import targeting
from lsa_audit.records import Correlation, NeuronTable

from ..reporting.builders import dropped, related


def table(*correlations: Correlation) -> NeuronTable:
    return dropped("conv1", "pgd@linf-0.03", correlations=correlations)


def both(rho: float, p_value: float) -> NeuronTable:
    return table(related("accuracy_drop", rho, p_value), related("margin_drop", rho, p_value))


@pytest.mark.parametrize(("rho", "expected"), [(0.5, "more"), (-0.5, "less")])
def test_a_direction_is_settled_where_all_correlations_have_it(rho, expected):
    (verdict,) = targeting([both(rho, 0.01)])
    assert (verdict.direction, verdict.p_adjusted) == (expected, 0.01)


@pytest.mark.parametrize(
    "second", [related("margin_drop", 0.5, 0.06), related("margin_drop", -0.5, 0.001), related("margin_drop", 0, 1)]
)
def test_one_that_disagrees_leaves_it_open(second):
    (verdict,) = targeting([table(related("accuracy_drop", 0.5, 0.001), second)])
    assert verdict.direction == "not settled"


def test_the_weakest_correlation_counts():
    (verdict,) = targeting([table(related("accuracy_drop", 0.5, 0.001), related("margin_drop", 0.3, 0.02))])
    assert verdict.p_adjusted == 0.02


def test_what_is_unknown_or_adversarial_does_not_count():
    known = related("accuracy_drop", 0.5, 0.001)
    others = (related("margin_drop", None, None), related("adversarial_accuracy_drop", -0.9, 0.001))
    (verdict,) = targeting([table(known, *others)])
    assert (verdict.direction, verdict.p_adjusted) == ("more", 0.001)


def test_the_p_values_are_corrected_over_the_layers_that_have_one():
    blind = table(related("accuracy_drop", None, None))
    verdicts = targeting([both(0.5, 0.02), blind, both(-0.5, 0.001), both(0.5, 0.04)])
    assert [verdict.direction for verdict in verdicts] == ["more", "not settled", "less", "more"]
    assert [verdict.p_adjusted for verdict in verdicts] == [0.04, None, 0.003, 0.04]
    assert [verdict.direction for verdict in targeting([both(0.5, 0.03)] * 2)] == ["not settled"] * 2


def test_no_layer_gets_no_verdict():
    assert targeting([]) == ()
