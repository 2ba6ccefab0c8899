"""Waivers: what they cover, until when, and which were of no use."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from lsa_audit.settings.gates import Waiver

from .builders import ask, finding, only, snap

FAILING = {"clean_accuracy": ["error", {"min": 0.99}]}
LAST = date(2026, 3, 1)


def waiver(gate: str = "clean_accuracy:min", reason: str = "known", expires: date = LAST) -> Waiver:
    return Waiver(gate=gate, reason=reason, expires=expires)


@pytest.mark.parametrize(
    ("today", "state", "verdict"),
    [(LAST, "used", "passed"), (LAST + timedelta(days=1), "expired", "failed"), (date(2020, 1, 1), "used", "passed")],
)
def test_a_waiver_holds_up_to_its_last_day(today, state, verdict):
    found = ask(FAILING, waivers=[waiver()], today=today)
    assert (found.waivers[0].state, found.verdict) == (state, verdict)
    assert found.waivers[0].covers == ("clean_accuracy:min",)
    assert only(found).waiver == ("known" if state == "used" else None)
    assert only(found).outcome == "failed"


def test_a_waiver_that_covers_nothing_is_unused():
    found = ask({"clean_accuracy": ["error", {"min": 0.5}]}, waivers=[waiver(), waiver("robust*")])
    assert [entry.state for entry in found.waivers] == ["unused", "unused"]
    assert only(found).waiver is None


def test_an_expired_waiver_stays_expired_where_nothing_fails():
    found = ask({"clean_accuracy": ["error", {"min": 0.5}]}, waivers=[waiver()], today=LAST + timedelta(days=1))
    assert found.waivers[0].state == "expired"


def test_patterns_cover_several_checks_and_the_first_reason_stays():
    run = snap(findings=(finding("zero-gradients"),))
    written = {**FAILING, "attack_health": ["error", {"max": 0}]}
    found = ask(written, run, waivers=[waiver("attack_health*", "first"), waiver("*", "second")])
    assert {check.id: check.waiver for check in found.checks} == {
        "clean_accuracy:min": "second",
        "attack_health:max": "first",
    }
    assert [entry.state for entry in found.waivers] == ["used", "used"]
    assert found.verdict == "passed"
    assert "cannot be relied on" in found.checks[1].sentence


def test_brackets_in_a_pattern_stand_for_themselves():
    found = ask(FAILING, waivers=[waiver("clean_accuracy:mi[n]")])
    assert found.waivers[0].state == "unused"
