from __future__ import annotations

import pytest

from lsa_audit.records import AuditRecord
from lsa_audit.reporting.neuron_layers import MARK
from lsa_audit.reporting.sections import neuron_table

from ..builders import dropped, effect, related


def test_neurons_are_sorted_by_drop_and_the_rest_is_counted(samples: dict[str, AuditRecord]) -> None:
    record = samples["large"]
    table = neuron_table.neuron_table(record, record.neurons[0])
    drops = sorted((neuron.clean.accuracy_drop for neuron in record.neurons[0].neurons), reverse=True)
    assert len(table.rows) == neuron_table.ROW_LIMIT
    assert table.rows[0].cells[2] == f"{drops[0]:.1%}".replace("%", " %")
    assert table.note == "44 more neurons with smaller drops (0 fragile): see record.json."


def test_a_row_tells_what_is_lost_on_clean_and_on_adversarial_images(samples: dict[str, AuditRecord]) -> None:
    clean = effect(0.04, low=-0.012, high=0.08)
    adversarial = effect(0.01, neuron_class="robust")
    table = dropped("conv1", "pgd@linf-0.0313725")
    neuron = table.neurons[3].model_copy(update={"clean": clean, "adversarial": adversarial})
    shown = neuron_table.neuron_table(samples["clean"], table.model_copy(update={"neurons": (neuron,)}))
    assert dict(zip((column.title for column in shown.columns), shown.rows[0].cells, strict=True)) == {
        "neuron": "3",
        "class": "fragile",
        "accuracy drop": "4.0 %",
        "95 % interval": "\N{MINUS SIGN}1.2 to 8.0 %",
        "margin drop": "0.36",
        "p adjusted": "< 0.001",
        "targeting score": "0.33",
        "adversarial class": "robust",
        "adversarial accuracy drop": "1.0 %",
        "adversarial 95 % interval": "\N{MINUS SIGN}1.0 to 4.0 %",
        "adversarial margin drop": "0.09",
        "adversarial p adjusted": "1.000",
        "measured, clean / adversarial": "200 / 200",
    }


@pytest.mark.parametrize(("clean", "adversarial"), [(200, 200), (199, 200), (200, 0)])
def test_each_side_is_marked_where_it_is_an_estimate(
    clean: int, adversarial: int, samples: dict[str, AuditRecord]
) -> None:
    table = dropped("conv1", "pgd@linf-0.0313725")
    changes = {"clean": effect(0.04, measured=clean), "adversarial": effect(0.02, measured=adversarial)}
    one = table.model_copy(update={"neurons": (table.neurons[0].model_copy(update=changes),)})
    cells = neuron_table.neuron_table(samples["clean"], one).rows[0].cells
    assert {MARK in cell for cell in cells[1:5]} == {clean < 200}
    assert {MARK in cell for cell in cells[7:11]} == {adversarial < 200}
    assert cells[-1] == f"{clean} / {adversarial}"
    counted = ", 1 of them not dropped on every image" if clean < 200 else ""
    assert neuron_table.class_counts(one) == f"1 fragile, 0 robust, 0 null of 1 neuron{counted}"


def test_an_unknown_figure_is_a_dash_without_a_mark(samples: dict[str, AuditRecord]) -> None:
    table = dropped("conv1", "pgd@linf-0.0313725")
    blind = table.neurons[0].model_copy(update={"clean": effect(0.0, margin_drop=None, measured=0)})
    shown = neuron_table.neuron_table(samples["clean"], table.model_copy(update={"neurons": (blind,)}))
    assert shown.rows[0].cells[4] == "\N{EN DASH}"


def test_the_site_and_the_attack_are_told(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    assert neuron_table.description(record, record.neurons[0]) == (
        "Each neuron was set to zero at bn1 (the batch norm after conv1), on 200 images; "
        "adversarial images from pgd 8/255."
    )


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
    record = samples["clean"]
    told = neuron_table.correlation_sentence(record, record.neurons[0], related("accuracy_drop", rho, p_value))
    assert told.startswith(expected)


def test_a_correlation_of_estimates_says_so(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    table = dropped("conv1", "pgd@linf-0.0313725")
    guessed = tuple(neuron.model_copy(update={"adversarial": effect(0.0, measured=3)}) for neuron in table.neurons)
    partly = table.model_copy(update={"neurons": guessed})
    for quantity, told in (("margin_drop", False), ("adversarial_margin_drop", True)):
        sentence = neuron_table.correlation_sentence(record, partly, related(quantity, 0.4, 0.01))
        assert ("drops partly estimated" in sentence) is told


def test_self_labels_rename_the_drop(samples: dict[str, AuditRecord]) -> None:
    record = samples["self-labels"]
    table = record.neurons[0]
    assert neuron_table.neuron_table(record, table).columns[2].title == "prediction stability drop"
    sentence = neuron_table.correlation_sentence(record, table, table.correlations[0])
    assert sentence.startswith("Neurons with a larger prediction stability drop")
