"""Every rule on small records made for it."""

from __future__ import annotations

import pytest

import lsa_audit
from lsa_audit.findings import RULES, find_all
from lsa_audit.records import AuditRecord, LabelInfo, Skipped
from lsa_audit.statistics import estimate


@pytest.fixture(scope="module")
def record() -> AuditRecord:
    found = lsa_audit.scan("digits-cnn", "digits", samples=60, epsilon=[0.1], attacks=["fgsm"], noises=[], threads=1)
    return found.model_copy(update={"findings": (), "skipped": ()})


def rules(record: AuditRecord) -> list[tuple[str, str]]:
    return [(finding.rule, finding.level) for finding in find_all(record)]


def with_attack(record: AuditRecord, **changes) -> AuditRecord:
    return record.model_copy(update={"attacks": (record.attacks[0].model_copy(update=changes),)})


def test_a_healthy_record_has_notes_only(record):
    assert set(rules(record)) == {("vulnerable-layers", "note"), ("fragile-neurons", "note")}


@pytest.mark.parametrize(("count", "level"), [(1, "warning"), (3, "error")])
def test_robust_verdicts_without_a_gradient(record, count, level):
    changed = with_attack(record, zero_gradient=count, robust_accuracy=estimate(150, 200))
    assert rules(changed)[0] == ("attack-health", level)


def test_logits_that_are_not_finite(record):
    assert rules(with_attack(record, nonfinite=1))[0] == ("attack-health", "error")


def test_a_model_that_couples_images(record):
    graph = record.graph.model_copy(update={"batch_independent": False})
    assert rules(record.model_copy(update={"graph": graph}))[0] == ("attack-health", "error")


def test_a_model_that_is_never_right(record):
    changed = record.model_copy(update={"clean": estimate(0, 60)})
    assert rules(changed)[0] == ("attack-health", "error")
    assert changed.model_copy(update={"findings": find_all(changed)}).inconclusive


@pytest.mark.parametrize(("right", "warned"), [(6, True), (9, True), (20, False)])
def test_accuracy_near_chance(record, right, warned):
    changed = record.model_copy(update={"clean": estimate(right, 60)})
    assert (("clean-accuracy", "warning") in rules(changed)) is warned


def test_self_labels_are_said_and_never_called_accuracy(record):
    changed = record.model_copy(update={"labels": LabelInfo(source="self", reason="the data has 10 classes")})
    (finding,) = [finding for finding in find_all(changed) if finding.rule == "labels"]
    assert "prediction stability, not accuracy" in finding.message


def test_what_was_skipped_is_counted(record):
    skipped = tuple(Skipped(what=f"layer {index}", reason="r", detail="d") for index in range(3))
    (finding,) = [
        finding for finding in find_all(record.model_copy(update={"skipped": skipped})) if finding.rule == "unmeasured"
    ]
    assert "and 2 more" in finding.message


def test_an_empty_list_names_the_highest_layer_as_below_threshold(record):
    entry = record.sustainability[0].model_copy(update={"mvl": ()})
    (finding,) = RULES["vulnerable-layers"](record.model_copy(update={"sustainability": (entry,)}))
    assert "highest, below threshold" in finding.message


def test_rules_sign_with_their_own_key(record):
    changed = with_attack(record, zero_gradient=9).model_copy(
        update={"labels": LabelInfo(source="self", reason="r"), "skipped": (Skipped(what="w", reason="r", detail="d"),)}
    )
    for name, rule in RULES.items():
        assert {finding.rule for finding in rule(changed)} <= {name}
