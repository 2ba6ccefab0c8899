from __future__ import annotations

from lsa_audit.records import AuditRecord, Correlation
from lsa_audit.reporting.sections import screening

from .. import neuron_records


def test_a_budget_is_told_with_what_it_left_out_and_how_well_estimates_agree(samples: dict[str, AuditRecord]) -> None:
    told, legend = screening.sentences(samples["every-layer"])
    assert told.startswith(
        "26 of 730 neurons were dropped on every clean and adversarial image; in all, 105,848 of 292,000 pairs of "
        "neuron and image were measured (36.2 %); the others are estimated to first order from gradients."
    )
    assert "29.7 whole forwards an image (the budget was 30); to measure every pair would cost 411." in told
    assert "a random sample of 64 neurons: Spearman's rho 0.91 (1: the same order), permutation p < 0.001." in told
    assert legend == screening.LEGEND


def test_nothing_is_called_estimated_where_all_was_measured(samples: dict[str, AuditRecord]) -> None:
    tables = samples["clean"].neurons
    whole = neuron_records.screening(tables, budget=None, spent=3.2)
    (told,) = screening.sentences(samples["clean"].model_copy(update={"screening": whole}))
    assert told.startswith("All 16 neurons were dropped on every clean and adversarial image.")
    assert "3.2 whole forwards an image (no limit was set). " in told
    assert "to measure every pair" not in told
    assert screening.sentences(samples["clean"]) == ()


def test_an_agreement_that_is_not_known_is_not_invented(samples: dict[str, AuditRecord]) -> None:
    unknown = Correlation(between=("estimated", "measured"), rho=None, p_value=None, count=2)
    record = samples["every-layer"]
    changed = neuron_records.screening(record.neurons, agreement=unknown)
    told, _ = screening.sentences(record.model_copy(update={"screening": changed}))
    assert told.endswith("cannot be told: too few neurons, or all alike.")
