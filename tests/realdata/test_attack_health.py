"""Cases on which the tool was wrong: a reversed gradient, and targeted attacks with three classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lsa_audit

pytestmark = pytest.mark.realdata

QUIET: dict[str, Any] = {"noises": (), "neurons": "none", "probes": (), "layers": "none", "gallery": 0, "threads": 1}


def scan(shared: Path, network: str, data: str, attack: str) -> lsa_audit.records.AuditRecord:
    cases = shared / "cases"
    if not cases.is_dir():
        pytest.skip("needs shared/cases")
    subject = f"{cases / 'nets' / 'nets.py'}:{network}"
    return lsa_audit.scan(subject, str(cases / "data" / data), **QUIET, attacks=[attack], epsilon=["0.1"], profile={})


def test_a_gradient_of_the_wrong_sign_is_a_health_error(shared):
    record = scan(shared, "wrong_sign", "digits8_test.npz", "pgd")
    assert record.inconclusive
    assert [finding.rule for finding in record.findings if finding.level == "error"] == ["wrong-gradients"]
    (check,) = [check for check in record.checks if check.rule == "wrong-gradients"]
    assert (check.outcome, check.level, check.figure, check.limit) == ("ran", "error", 1.0, 0.1)


@pytest.mark.slow
def test_targeted_attacks_work_with_three_classes(shared):
    record = scan(shared, "three_classes", "digits8_three_classes.npz", "apgd-t")
    assert record.attacks[0].robust_accuracy.value <= 0.195
    assert [finding for finding in record.findings if finding.group == "attack-health"] == []


@pytest.mark.slow
def test_a_straight_through_gradient_is_no_wrong_one(shared):
    record = scan(shared, "quantised", "digits8_test.npz", "pgd")
    assert [finding for finding in record.findings if finding.group == "attack-health"] == []
