"""The rules together, and those about the results."""

from __future__ import annotations

import pytest

import lsa_audit
from lsa_audit.findings import HEALTH_RULES, RULES, find_all
from lsa_audit.records import AuditRecord, LabelInfo, Plausibility, Skipped
from lsa_audit.stats.statistics import estimate

from .records import PGD, SMALL, alternative, attack, found, health, levels, pair, record, signs, slopes


@pytest.fixture(scope="module")
def scanned() -> AuditRecord:
    settings = {"samples": 60, "epsilon": [0.1], "attacks": ["fgsm"], "noises": [], "threads": 1}
    result = lsa_audit.scan("digits-cnn", "digits", **settings)
    return result.model_copy(update={"findings": (), "skipped": ()})


@pytest.mark.slow
def test_a_real_model_that_was_never_hardened_has_no_error(scanned):
    told = find_all(scanned)
    assert {finding.rule for finding in told} >= {"vulnerable-layers", "fragile-neurons"}
    assert not [finding for finding in told if finding.level == "error"]


def test_a_healthy_record_gets_no_finding():
    assert find_all(record()) == ()


@pytest.mark.parametrize("robust", [(0, 0, 0), (100, 91, 92), (183, 183, 183)])
def test_healthy_attacks_are_not_doubted_however_much_they_leave(robust):
    attacks = [attack(name, left) for name, left in zip(("pgd", "apgd-t", "square"), robust, strict=True)]
    pairs = (pair("black-box", min(1, robust[0]), max(1, robust[0])),)
    assert find_all(record(*attacks, health=health(comparisons=pairs))) == ()


def test_errors_come_first():
    sick = attack("pgd", 100, zero_gradient=60, nonfinite=1, signs=signs(vanishing_gradient=90))
    subject = record(sick, health=health(saturated=150, training_layers=("drop",)))
    order = [finding.level for finding in find_all(subject)]
    assert order == sorted(order, key=("error", "warning", "note").index)
    assert set(order) == {"error", "warning"}


def test_an_error_of_the_group_makes_the_record_inconclusive():
    healthy, sick = record(), record(attack("pgd", 100, zero_gradient=60))
    assert not healthy.model_copy(update={"findings": find_all(healthy)}).inconclusive
    assert sick.model_copy(update={"findings": find_all(sick)}).inconclusive


def test_rules_sign_with_their_own_id_and_group(scanned):
    """On a record where everything is wrong at once, every rule but two that exclude the others' cause speaks."""
    sick = attack(
        "pgd",
        100,
        zero_gradient=60,
        nonfinite=3,
        signs=signs(nonfinite_gradient=40, vanishing_gradient=90, fooled_later=0, rising_share=0.0),
    )
    pairs = tuple(pair(name, 60, 100) for name in ("more-steps", "larger-epsilon", "black-box", "noise"))
    trial = health().unbounded.model_copy(update={"fooled": 0})
    subject = record(
        sick,
        attack("fgsm", 20, SMALL),
        attack("pgd", 5, SMALL),
        clean=estimate(20, 200),
        graph=record().graph.model_copy(update={"batch_independent": False}),
        health=health(
            outputs="probabilities",
            saturated=190,
            at_bounds=190,
            repeat_difference=0.5,
            training_layers=("drop",),
            unbounded=trial,
            slopes=slopes(downhill=40),
            comparisons=pairs,
        ),
        labels=LabelInfo(source="self", reason="r"),
        plausibility=Plausibility(alternatives=(alternative(82, 182),), passes=400, allowed=400),
        data=scanned.data.model_copy(update={"largest_pixel": 0.1}),
        skipped=(Skipped(what="w", reason="r", detail="d"),),
        sustainability=(scanned.sustainability[0].model_copy(update={"perturbation": PGD}),),
        neurons=scanned.neurons,
    )
    for name, rule in RULES.items():
        group = "attack-health" if name in HEALTH_RULES else "result"
        assert {(finding.rule, finding.group) for finding in rule(subject)} <= {(name, group)}
    told = {finding.rule for finding in find_all(subject)}
    assert set(RULES) - told == {"no-attack", "never-right", "clean-accuracy"}


def test_no_attack_ran():
    assert levels("no-attack", record(attack("square", 100))) == []
    skipped = (Skipped(what="pgd", reason="no-gradients", detail="the file holds ai.onnx::LSTM"),)
    (finding,) = found("no-attack", record().model_copy(update={"attacks": (), "skipped": skipped}))
    assert finding.level == "error"
    assert "ai.onnx::LSTM" in finding.message


@pytest.mark.parametrize(("right", "expected"), [(0, ["error"]), (1, [])])
def test_a_model_that_is_never_right(right, expected):
    assert levels("never-right", record(clean=estimate(right, 200))) == expected


@pytest.mark.parametrize(("right", "expected"), [(20, ["warning"]), (27, ["warning"]), (60, [])])
def test_accuracy_near_chance(right, expected):
    assert levels("clean-accuracy", record(clean=estimate(right, 200))) == expected


def test_self_labels_are_said_and_never_called_accuracy():
    subject = record(labels=LabelInfo(source="self", reason="the data has 10 classes"))
    (finding,) = found("labels", subject)
    assert "prediction stability, not accuracy" in finding.message
    assert found("labels", record()) == []


def test_what_was_skipped_is_counted():
    skipped = tuple(Skipped(what=f"layer {index}", reason="r", detail="d") for index in range(3))
    (finding,) = found("unmeasured", record(skipped=skipped))
    assert "and 2 more" in finding.message
    assert found("unmeasured", record()) == []


def test_an_empty_list_names_the_highest_layer_as_below_threshold(scanned):
    entry = scanned.sustainability[0].model_copy(update={"mvl": ()})
    (finding,) = found("vulnerable-layers", scanned.model_copy(update={"sustainability": (entry,)}))
    assert "highest, below threshold" in finding.message
