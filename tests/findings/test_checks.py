"""What the record keeps of every rule that was asked."""

from __future__ import annotations

import pytest

from lsa_audit import findings
from lsa_audit.findings import FIGURES, HEALTH_RULES, RULES, VERSIONS, judged
from lsa_audit.records import AuditRecord, Check, Finding, UnboundedTrial

from .records import PGD, attack, health, record, signs, slopes


def check(rule: str, subject: AuditRecord) -> Check:
    return next(found for found in judged(subject).checks if found.rule == rule)


def test_every_rule_is_recorded_once_with_its_version_and_group():
    found = judged(record()).checks
    assert [entry.rule for entry in found] == list(RULES)
    assert [entry.version for entry in found] == [VERSIONS.get(rule, 1) for rule in RULES]
    assert {entry.rule for entry in found if entry.group == "attack-health"} == set(HEALTH_RULES)
    assert set(VERSIONS) <= set(RULES)
    assert [rule for rule in FIGURES if rule in HEALTH_RULES] == list(HEALTH_RULES)


def test_a_healthy_run_has_figures_and_no_level():
    found = judged(record(health=health(slopes=slopes()))).checks
    assert all(entry.level is None and entry.findings == 0 for entry in found if entry.group == "attack-health")
    zero = check("zero-gradients", record())
    assert (zero.outcome, zero.seen, zero.figure, zero.limit) == ("ran", "none of the robust verdicts", 0.0, 0.01)


def test_a_figure_stands_beside_its_limit_and_its_attack():
    sick = attack("pgd", 100, zero_gradient=37)
    found = check("zero-gradients", record(sick))
    assert (found.level, found.findings, found.subject) == ("error", 1, PGD)
    assert (found.seen, found.figure, found.limit) == ("37 of 100 robust verdicts", 0.37, 0.01)


def test_what_does_not_apply_says_why():
    black_box = record(attack("square", 100), health=health(unbounded=None))
    found = check("zero-gradients", black_box)
    assert (found.outcome, found.reason) == ("not-applicable", "no attack with gradients was run")
    assert (found.level, found.figure, found.seen) == (None, None, "")
    alike = UnboundedTrial(perturbation="x", images=5, fooled=5, by_chance=5)
    assert "proves nothing" in check("unbounded-attack-fails", record(health=health(unbounded=alike))).reason
    nothing = UnboundedTrial(perturbation="x", images=0, fooled=0, by_chance=0)
    assert check("unbounded-attack-fails", record(health=health(unbounded=nothing))).outcome == "not-applicable"
    assert check("random-outputs", record(health=None)).outcome == "not-run"


@pytest.mark.parametrize(
    ("changes", "words", "figure"),
    [
        ({"downhill": 40}, "the loss falls along the gradient on 40 of 64 images", 40 / 64),
        ({"parts_downhill": 100}, "the loss falls along 100 of 512 parts of the gradients", 100 / 512),
    ],
)
def test_what_was_seen_of_slopes(changes, words, figure):
    found = check("wrong-gradients", record(health=health(slopes=slopes(**changes))))
    assert (found.seen, found.figure, found.level) == (words, figure, "error")


def test_a_new_rule_is_one_file_and_one_line(monkeypatch):
    def rule(subject: AuditRecord) -> list[Finding]:
        return [Finding(rule="brand-new", level="warning", subject=subject.model.name, message="m")]

    monkeypatch.setitem(findings.RULES, "brand-new", rule)
    found = check("brand-new", record())
    assert (found.version, found.outcome, found.level, found.findings, found.figure) == (1, "ran", "warning", 1, None)


def test_the_findings_are_those_of_the_rules():
    subject = record(attack("pgd", 100, zero_gradient=60, signs=signs(rising_share=0.0)))
    assert {finding.rule for finding in judged(subject).findings} == {"zero-gradients", "objective-does-not-rise"}
