from __future__ import annotations

from lsa_audit.page.view import Group, Table
from lsa_audit.records import AuditRecord
from lsa_audit.reporting import selection
from lsa_audit.reporting.sections import accuracy


def test_the_clean_figure_comes_first(samples: dict[str, AuditRecord]) -> None:
    table = accuracy.accuracy_table(samples["clean"])
    assert [column.title for column in table.columns] == [
        "perturbation",
        "epsilon",
        "accuracy",
        "95 % interval",
        "fooled",
    ]
    assert table.rows[0].cells == ("clean", "0", "91.5 %", "86.8–94.6 %", "–")  # noqa: RUF001
    assert table.rows[4].cells == ("pgd", "8/255", "0.5 %", "0.1–2.8 %", "182")  # noqa: RUF001


def test_norms_are_a_column_only_where_they_differ(samples: dict[str, AuditRecord]) -> None:
    assert "linf distance" in accuracy.accuracy_table(samples["clean"]).note
    table = accuracy.accuracy_table(samples["two-norms"]).pick("norm")
    assert [row.cells[0] for row in table.rows] == ["–", "linf", "l2", "linf"]  # noqa: RUF001


def test_flags_tell_what_went_wrong(samples: dict[str, AuditRecord]) -> None:
    table = accuracy.accuracy_table(samples["findings"])
    assert table.rows[1].cells[-1] == "37 zero gradient, 3 not finite"
    assert table.rows[1].tone == "warning"


def test_no_attack_is_said(samples: dict[str, AuditRecord]) -> None:
    assert "No attack and no noise was run." in str(accuracy.section(samples["clean-only"]))


def test_what_an_attack_told_beside_its_accuracy_follows_the_accuracies(samples: dict[str, AuditRecord]) -> None:
    blocks = accuracy.section(samples["ensembles"]).blocks
    captions = [block.caption for block in blocks if isinstance(block, Table)]
    assert captions == [
        "Accuracy by perturbation",
        "Breaking epsilons (linf)",
        "Distance to the nearest misclassified image",
        "Settings and cost of the perturbations",
    ]
    assert [block.title for block in blocks if isinstance(block, Group)] == [
        "Members of cascade 2/255",
        "Members of cascade 8/255",
        "Members of autoattack 8/255",
    ]


def test_attacks_on_layers_are_told_apart(samples: dict[str, AuditRecord]) -> None:
    record = samples["ensembles"]
    first = record.attacks[7]
    entry = first.perturbation.model_copy(update={"layer": "linear", "id": "layer-pgd[linear]@linf-8/255"})
    both = record.model_copy(update={"attacks": (first, first.model_copy(update={"perturbation": entry}))})
    names = [row.cells[0] for row in accuracy.accuracy_table(both).rows]
    assert names == ["clean", "layer-pgd[layer1.0.conv1]", "layer-pgd[linear]"]
    assert {"layer-pgd[layer1.0.conv1] 8/255", "layer-pgd[linear] 8/255"} <= set(selection.labels(both).values())
