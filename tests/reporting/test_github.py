"""What GitHub shows of a run: the summary of a job within its limit, and annotations that say nothing unasked."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt

from lsa_audit.records import AuditRecord, Finding, Skipped
from lsa_audit.reporting import github, github_annotations
from lsa_audit.reporting.shown import Shown

from .builders import build
from .gating_records import CASES, FAILED, check, failed, gating, inconclusive, shown

PARSER = MarkdownIt("gfm-like", {"linkify": False})
COMMAND = re.compile(
    r"::(error|warning|notice) ((?:file|line|title)=[^:,\r\n]*(?:,(?:file|line|title)=[^:,\r\n]*)*)::.+"
)


@pytest.mark.parametrize("case", CASES)
def test_gold(case: str, samples: dict[str, AuditRecord], check_gold: Callable[[str, str], None]) -> None:
    check_gold(f"{case}.summary.md", github.render(shown(case, samples)))
    check_gold(f"{case}.annotations.txt", github_annotations.render(shown(case, samples)))


@pytest.mark.parametrize("case", CASES)
def test_the_summary_holds_no_markup_and_no_link_from_the_record(case: str, samples: dict[str, AuditRecord]) -> None:
    tokens = PARSER.parse(github.render(shown(case, samples)))
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert "html_block" not in {token.type for token in tokens}
    assert kinds <= {"text", "softbreak", "strong_open", "strong_close"}


def test_the_verdict_comes_first_and_what_failed_before_what_passed() -> None:
    summary = github.render(Shown(build(), failed()))
    places = [
        summary.index(text) for text in ("The gates fail", "| Gates |", "## Gates", "\n| failed |", "\n| passed |")
    ]
    assert places == sorted(places)
    assert summary.index("## Gates") < summary.index("## Findings") < summary.index("## Accuracy")


def test_a_long_summary_is_cut_and_says_what_is_missing() -> None:
    skipped = tuple(Skipped(what=f"layer {place}", reason="x", detail="\u540d" * 1_900) for place in range(1_000))
    summary = github.render(Shown(build(skipped=skipped)))
    assert len(summary.encode()) <= github.LIMIT_BYTES
    *_, row, empty, last, end = summary.split("\n")
    assert (empty, end) == ("", "")
    assert row.startswith("| layer ")
    assert row.endswith(" |")
    shown_rows = summary.count("| layer ")
    assert f"{1_000 - shown_rows:,} rows are left out. The report.md" in last


def test_the_sentence_names_the_sections_that_are_missing() -> None:
    summary = "\n".join(
        ["# a", "", "## one", "", *["| x |"] * 2_000, "", "## two", "", "| y |", "|---|", "| z |", "", "## three", ""]
    )
    cut = github.cut(summary, 8_000)
    assert len(cut.encode()) <= 8_000
    rows = 2_000 + 1 - cut.count("| x |")
    assert f"{rows:,} rows and the sections two, three are left out." in cut
    assert github.cut(summary, len(summary.encode())) == summary


def annotations(what: Shown) -> list[str]:
    return github_annotations.render(what).splitlines()


@pytest.mark.parametrize("case", CASES)
def test_every_line_is_one_command(case: str, samples: dict[str, AuditRecord]) -> None:
    lines = annotations(shown(case, samples))
    assert lines
    assert [line for line in lines if not COMMAND.fullmatch(line) or not line.isprintable()] == []


def test_the_gates_lines_and_levels() -> None:
    assert annotations(Shown(build(), failed())) == [
        "::error file=ci.yaml,line=3,title=relative_error@layer1.*%3Amax_rise inconclusive::the mean of layer1.0.conv1 "
        "is 0.4 above the baseline's; about 410 images would decide",
        "::error file=ci.yaml,line=3,title=robust_accuracy@linf-8/255%3Amax_drop failed::0.5 %25 of 200 images stay "
        "right, 9.5 points below the baseline; at most 2.0 points are allowed",
        "::warning file=ci.yaml,line=3,title=fragile_neurons@conv1%3Amax_rise failed::4 neurons, 1 more",
        "::warning file=ci.yaml,title=waiver::The waiver of mvl* until 2024-12-31 is expired.",
        "::warning file=ci.yaml,title=waiver::The waiver of clean* until 2025-12-31 is unused.",
        "::notice title=lsa-audit::resnet20 on cifar10_test_first1000: the gates say failed (5 checks).",
        "::notice file=ci.yaml,line=3,title=skipped%3Amax failed%2C waived::2 things were not measured. Waived: known; "
        "see the notes",
    ]


def test_where_gates_judge_a_finding_is_no_error(samples: dict[str, AuditRecord]) -> None:
    record = samples["findings"]
    assert [line.split()[0] for line in annotations(Shown(record))] == ["::error", "::warning", "::notice", "::notice"]
    assert [line.split()[0] for line in annotations(Shown(record, gating()))] == [
        "::warning",
        "::warning",
        "::notice",
        "::notice",
    ]


def test_values_cannot_become_properties_or_commands() -> None:
    bad = check(id="a,line=9::b%\r\n::stop-commands::x", outcome="failed", sentence="100 %\n::error::x")
    (line, _) = annotations(Shown(build(), gating(bad, profile="a,b:c%d.yaml")))
    assert line == (
        "::error file=a%2Cb%3Ac%25d.yaml,line=3,title=a%2Cline=9%3A%3Ab%25\\r\\n%3A%3Astop-commands%3A%3Ax failed"
        "::100 %25 ::error::x"
    )


@pytest.mark.parametrize(("count", "lines", "last"), [(10, 10, None), (11, 10, "2 more"), (1_500, 10, "1,491 more")])
def test_at_most_ten_of_a_level(count: int, lines: int, last: str | None) -> None:
    checks = [FAILED.model_copy(update={"id": f"check {place}"}) for place in range(count)]
    errors = [line for line in annotations(Shown(build(), gating(*checks))) if line.startswith("::error")]
    assert len(errors) == lines
    assert (f"::{last} are not shown" in errors[-1]) if last else ("check 9" in errors[-1])


def test_without_gates_a_notice_says_so() -> None:
    assert annotations(Shown(build())) == [
        "::notice title=lsa-audit::resnet20 on cifar10_test_first1000: no gates were asked."
    ]


def test_what_is_inconclusive_is_an_error() -> None:
    assert annotations(Shown(build(), inconclusive()))[0].startswith("::error ")


def test_findings_of_one_rule_are_one_annotation() -> None:
    many = tuple(
        Finding(rule="zero-gradients", group="attack-health", level="error", subject=f"pgd {place}", message="none")
        for place in range(50)
    )
    (line, _) = annotations(Shown(build(findings=many)))
    assert "And 49 more" in line
