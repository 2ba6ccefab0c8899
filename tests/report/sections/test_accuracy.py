from __future__ import annotations

from lsa_audit.records import AuditRecord
from lsa_audit.report.sections import accuracy
from lsa_audit.report.view import Table


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


def test_settings_and_health(samples: dict[str, AuditRecord]) -> None:
    table = accuracy.section(samples["findings"]).blocks[2]
    assert isinstance(table, Table)
    titles = ("perturbation", "steps", "step size", "restarts", "zero gradient", "not finite", "backwards")
    assert table.pick(*titles).rows[0].cells == ("pgd 8/255", "20", "1/255", "2", "37", "3", "4,000")


def test_noise_has_no_steps(samples: dict[str, AuditRecord]) -> None:
    table = accuracy.section(samples["two-norms"]).blocks[2]
    assert isinstance(table, Table)
    assert table.pick("steps", "step size").rows[2].cells == ("–", "–")  # noqa: RUF001


def test_no_attack_is_said(samples: dict[str, AuditRecord]) -> None:
    assert "No attack and no noise was run." in str(accuracy.section(samples["clean-only"]))
