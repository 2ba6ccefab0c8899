from __future__ import annotations

import pytest

from lsa_audit.page.view import Paragraph, Table
from lsa_audit.records.gating import Gating
from lsa_audit.reporting.sections import gates

from ..gating_records import FAILED, UNDECIDED, WAIVED, WARNED, check, failed, gating


def tables(shown: Gating) -> dict[str, Table]:
    return {block.caption: block for block in gates.sections(shown)[0].blocks if isinstance(block, Table)}


@pytest.mark.parametrize(
    ("shown", "title", "tone", "value"),
    [
        (gating(), "The gates pass", "good", "passed"),
        (failed(), "The gates fail", "bad", "failed"),
        (gating(check(), UNDECIDED), "The gates cannot decide", "warning", "inconclusive"),
        (gating(check(), WAIVED, WARNED), "The gates pass", "good", "passed"),
        (gating().model_copy(update={"checks": ()}), "The gates cannot decide", "warning", "inconclusive"),
    ],
)
def test_the_verdict_leads(shown: Gating, title: str, tone: str, value: str) -> None:
    (notice,) = gates.notices(shown)
    (card,) = gates.cards(shown)
    assert (notice.title, notice.tone) == (title, tone)
    assert (card.value, card.tone) == (value, tone)


def test_without_gates_there_is_nothing_to_say() -> None:
    assert gates.notices(None) == gates.cards(None) == gates.sections(None) == ()


def test_the_notice_names_what_decided_and_what_did_not_count() -> None:
    (notice,) = gates.notices(failed())
    assert notice.text == (
        "Checks that count: 1 failed, 1 inconclusive, 1 passed. "
        "robust_accuracy@linf-8/255:max_drop: 0.5 % of 200 images stay right, 9.5 points below the baseline; "
        "at most 2.0 points are allowed. Waived: 1. At level warn, which does not count: 1 failed."
    )


def test_many_failures_are_counted() -> None:
    (notice,) = gates.notices(gating(*[FAILED] * 5))
    assert notice.text.count(FAILED.id) == 3
    assert "And 2 more." in notice.text


def test_no_check_is_said_in_words() -> None:
    empty = gating().model_copy(update={"checks": ()})
    (notice,) = gates.notices(empty)
    assert notice.text == "No gate of the profile looked at anything."
    assert "Checks, those that count first" not in tables(empty)
    assert gates.cards(empty)[0].note == "checks: none; baseline: baseline.json"


def test_every_check_is_a_row_and_what_counts_comes_first() -> None:
    rows = tables(failed())["Checks, those that count first"].rows
    shown = [(row.cells[0], row.cells[1], row.tone) for row in rows]
    assert shown == [
        ("failed", FAILED.id, "bad"),
        ("inconclusive", UNDECIDED.id, "warning"),
        ("passed", "clean_accuracy:max_drop", ""),
        ("failed, waived", WAIVED.id, "quiet"),
        ("failed (warn)", WARNED.id, "warning"),
    ]
    assert rows[1].cells[2] == f"T{UNDECIDED.sentence[1:]}."
    assert rows[3].cells[2] == "2 things were not measured. Waived: Known; see the notes."


def test_waivers_and_differences() -> None:
    found = tables(failed())
    assert [(row.cells[0], row.tone) for row in found["Waivers"].rows] == [
        ("used", ""),
        ("expired", "warning"),
        ("unused", "warning"),
    ]
    assert found["Differences between baseline and run"].rows[0].cells[0] == "weights"
    assert len(tables(gating())) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            "was held against the baseline baseline.json, image by image, on all of its 200 images.",
        ),
        ({"images_paired": 150}, "image by image, on 150 of its 200 images."),
        ({"baseline": None, "images_paired": None}, "was judged on its 200 images, without a baseline."),
        ({"profile": None}, "The gates stand in the run's own settings; judged on 2025-01-02."),
    ],
)
def test_the_conditions_in_words(changes: dict[str, object], said: str) -> None:
    first = gates.sections(gating(**changes))[0].blocks[0]
    assert isinstance(first, Paragraph)
    assert said in first.text


def advised(shown: Gating) -> str:
    return " ".join(gates.advice(shown))


def test_what_to_do_goes_with_what_was_found() -> None:
    assert advised(gating()) == advised(gating(check(), WAIVED, WARNED)) == ""
    assert "baseline update" in advised(gating(FAILED))
    absolute = check(outcome="failed", limit="min")
    assert (
        advised(gating(absolute)) == "Mend the model, or excuse a check until a certain day by a waiver in the profile."
    )
    unwell = check(kind="attack_health", outcome="inconclusive", limit="max")
    assert advised(gating(unwell)).startswith("The attacks cannot be relied on")
