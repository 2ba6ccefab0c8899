from __future__ import annotations

import pytest

from lsa_audit.records import AuditRecord, Correlation
from lsa_audit.report.sections import neurons


def test_neurons_are_sorted_by_drop_and_the_rest_is_counted(samples: dict[str, AuditRecord]) -> None:
    record = samples["large"]
    table = neurons.neuron_table(record, record.neurons[0])
    drops = sorted((neuron.accuracy_drop for neuron in record.neurons[0].neurons), reverse=True)
    assert len(table.rows) == neurons.ROW_LIMIT
    assert table.rows[0].cells[2] == f"{drops[0]:.1%}".replace("%", " %")
    assert table.note.startswith("44 more neurons with smaller drops (0 fragile): see record.json.")


def test_classes_are_counted(samples: dict[str, AuditRecord]) -> None:
    assert neurons.class_counts(samples["clean"].neurons[0]) == "3 fragile, 9 robust, 4 null of 16 neurons"


def test_without_an_attack_the_adversarial_cells_are_dashes(samples: dict[str, AuditRecord]) -> None:
    record = samples["nothing-known"]
    table = neurons.neuron_table(record, record.neurons[0])
    assert set(table.rows[0].cells[4:7]) == {"–"}  # noqa: RUF001
    assert neurons.description(record, record.neurons[0]).endswith("without adversarial images.")


@pytest.mark.parametrize(
    ("rho", "p_value", "expected"),
    [
        (
            0.62,
            0.011,
            "Neurons with a larger accuracy drop tend to have a larger targeting score (Spearman's rho 0.62,",
        ),
        (
            -0.62,
            0.011,
            "Neurons with a larger accuracy drop tend to have a smaller targeting score (Spearman's rho \N{MINUS SIGN}",
        ),
        (0.62, 0.05, "No significant rank correlation of accuracy drop and targeting score (Spearman's rho 0.62,"),
        (None, None, "No rank correlation of accuracy drop and targeting score: one side is constant"),
    ],
)
def test_correlations_in_words(
    rho: float | None, p_value: float | None, expected: str, samples: dict[str, AuditRecord]
) -> None:
    between = ("accuracy_drop", "targeting_score")
    correlation = Correlation(between=between, rho=rho, p_value=p_value, neurons=16)
    assert neurons.correlation_sentence(samples["clean"], correlation).startswith(expected)


def test_self_labels_rename_the_drop(samples: dict[str, AuditRecord]) -> None:
    record = samples["self-labels"]
    assert neurons.neuron_table(record, record.neurons[0]).columns[2].title == "prediction stability drop"
    sentence = neurons.correlation_sentence(record, record.neurons[0].correlations[0])
    assert sentence.startswith("Neurons with a larger prediction stability drop")
