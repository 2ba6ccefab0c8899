from __future__ import annotations

from collections.abc import Sequence

from lsa_audit.page.view import Table
from lsa_audit.records import AuditRecord, Finding
from lsa_audit.reporting.sections import findings

from ..builders import build


def table(record: AuditRecord) -> Table:
    (shown,) = findings.section(record).blocks
    assert isinstance(shown, Table)
    return shown


def about(subjects: Sequence[str], rule: str = "zero-gradients") -> tuple[Finding, ...]:
    return tuple(
        Finding(rule=rule, group="attack-health", level="error", subject=name, message=f"On {name}.")
        for name in subjects
    )


def test_findings_are_sorted_by_gravity(samples: dict[str, AuditRecord]) -> None:
    rows = table(samples["findings"]).rows
    assert [row.cells[0] for row in rows] == ["error", "warning", "note"]
    assert [row.tone for row in rows] == ["bad", "warning", "quiet"]


def test_how_to_have_a_rule_explained_is_told(samples: dict[str, AuditRecord]) -> None:
    assert table(samples["findings"]).note.startswith("lsa-audit explain ID tells")


def test_findings_of_a_rule_and_level_share_a_row(samples: dict[str, AuditRecord]) -> None:
    record = samples["masked"]
    assert len(record.findings) == 46
    rows = table(record).rows
    assert len(rows) == len({(finding.rule, finding.level) for finding in record.findings}) == 10
    (row,) = [row for row in rows if row.cells[3] == "zero-gradients"]
    assert row.cells[1] == "pgd 1/255"
    assert row.cells[2].startswith("61 of 169 robust verdicts")
    assert row.cells[2].endswith("And 7 more, among them pgd 2/255, pgd 4/255, pgd 8/255, apgd-ce 1/255.")


def test_a_few_more_are_all_named() -> None:
    (entry,) = findings.entries(build(findings=about(("a", "b", "c"))))
    assert entry.sentence == "On a. And 2 more: b, c."


def test_what_attacks_found_is_never_folded() -> None:
    found = tuple(Finding(rule="vulnerable-layers", level="note", subject="fc", message=f"On {name}.") for name in "ab")
    assert [entry.sentence for entry in findings.entries(build(findings=found))] == ["On a.", "On b."]


def test_more_about_the_same_are_counted() -> None:
    (entry,) = findings.entries(build(findings=about(("a", "a"))))
    assert entry.sentence == "On a. And 1 more about the same."


def test_rules_and_levels_are_kept_apart() -> None:
    note = Finding(rule="zero-gradients", level="note", subject="d", message="On d.")
    shown = findings.entries(build(findings=(note, *about("a"), *about("b", "other"))))
    assert [(entry.level, entry.rule, entry.sentence) for entry in shown] == [
        ("error", "zero-gradients", "On a."),
        ("error", "other", "On b."),
        ("note", "zero-gradients", "On d."),
    ]


def test_nothing_found_is_said(samples: dict[str, AuditRecord]) -> None:
    assert "No rule found anything to report." in str(findings.section(samples["clean"]))
