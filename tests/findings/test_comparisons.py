"""What should be weaker fools what the stronger one misses."""

from __future__ import annotations

import pytest

from .records import FGSM, PGD, attack, found, health, levels, pair, record, stage

IDS = {
    "more-steps": "weaker-with-more-steps",
    "larger-epsilon": "weaker-with-larger-epsilon",
    "black-box": "black-box-beats-white-box",
    "noise": "noise-beats-gradient",
}


@pytest.mark.parametrize("suspicion", IDS)
def test_each_suspicion_has_its_own_id(suspicion):
    subject = record(health=health(comparisons=(pair(suspicion, 60, 100),)))
    assert [name for name in IDS.values() if found(name, subject)] == [IDS[suspicion]]
    (finding,) = found(IDS[suspicion], subject)
    assert (finding.level, finding.group, finding.subject) == ("error", "attack-health", PGD)
    assert "Of 100 images that it left right, 60 (60.0 %)" in finding.message


@pytest.mark.parametrize(
    ("missed", "robust", "expected"),
    [(1, 100, []), (1, 12, []), (2, 200, []), (2, 12, ["warning"]), (5, 100, ["warning"]), (6, 100, ["error"])],
)
def test_a_few_images_are_chance_a_share_is_not(missed, robust, expected):
    subject = record(attack("pgd", robust), health=health(comparisons=(pair("more-steps", missed, robust),)))
    assert levels("weaker-with-more-steps", subject) == expected


@pytest.mark.parametrize(("missed", "expected"), [(10, ["warning"]), (11, ["error"])])
def test_a_black_box_attack_has_twice_the_share(missed, expected):
    subject = record(health=health(comparisons=(pair("black-box", missed, 100),)))
    assert levels("black-box-beats-white-box", subject) == expected


def test_only_the_clearest_pair_of_an_attack_is_told():
    pairs = (
        pair("noise", 3, 100, "salt"),
        pair("noise", 9, 100, "gaussian"),
        pair("noise", 5, 100, "pepper"),
        pair("noise", 50, 120, "gaussian", FGSM),
    )
    told = found("noise-beats-gradient", record(health=health(comparisons=pairs)))
    assert [(finding.subject, "gaussian" in finding.message) for finding in told] == [(PGD, True), (FGSM, True)]


def test_one_large_step_that_overshoots_is_a_note_beside_a_better_attack():
    pairs = (pair("larger-epsilon", 20, 120, "fgsm@linf-small", FGSM),)
    assert levels("weaker-with-larger-epsilon", record(health=health(comparisons=pairs))) == ["note"]
    alone = record(attack("fgsm", 120), health=health(comparisons=pairs))
    assert levels("weaker-with-larger-epsilon", alone) == ["error"]
    strongest = record(attack("fgsm", 120), attack("pgd", 121), health=health(comparisons=pairs))
    assert levels("weaker-with-larger-epsilon", strongest) == ["error"]


def test_a_black_box_attack_that_outdoes_one_step_proves_nothing():
    pairs = (pair("black-box", 60, 120, "square", FGSM),)
    subject = record(attack("fgsm", 120), attack("square", 60), health=health(comparisons=pairs))
    assert levels("black-box-beats-white-box", subject) == ["note"]


def test_advice_follows_the_level():
    pairs = (pair("black-box", 50, 100, "square"),)
    (finding,) = found("black-box-beats-white-box", record(health=health(comparisons=pairs)))
    assert "Gradients mislead on this model" in finding.message
    (finding,) = found("black-box-beats-white-box", record(health=health(comparisons=(pair("black-box", 4, 100),))))
    assert "prefer the lowest figure" in finding.message


def test_the_attack_that_won_the_comparison_does_not_lift_the_doubt():
    weak = attack("apgd-ce", 70)
    pairs = (pair("more-steps", 30, 100, weak.perturbation.id),)
    assert levels("weaker-with-more-steps", record(weak, attack("pgd", 100), health=health(comparisons=pairs))) == [
        "error"
    ]
    third = record(weak, attack("pgd", 100), attack("apgd-t", 70), health=health(comparisons=pairs))
    assert levels("weaker-with-more-steps", third) == ["warning"]


def test_a_black_box_attack_does_not_make_up_for_gradients_that_mislead():
    pairs = (pair("black-box", 50, 100, "square"),)
    misled = record(attack("pgd", 100), attack("square", 50), health=health(comparisons=pairs))
    assert levels("black-box-beats-white-box", misled) == ["error"]
    found_too = record(attack("pgd", 100), attack("square", 50), attack("apgd-t", 48), health=health(comparisons=pairs))
    assert levels("black-box-beats-white-box", found_too) == ["warning"]


def test_a_model_that_a_black_box_attack_fells_altogether_is_not_in_doubt():
    pairs = (pair("black-box", 72, 76, "square"),)
    subject = record(attack("pgd", 76), attack("square", 4), health=health(comparisons=pairs))
    assert levels("black-box-beats-white-box", subject) == ["warning"]


@pytest.mark.parametrize(("fooled", "expected"), [(1, []), (5, ["warning"]), (40, ["error"]), (99, ["warning"])])
def test_the_last_member_of_an_ensemble(fooled, expected):
    members = (stage("apgd-ce", 183, 83, 9_000), stage("apgd-t", 0, 0, 0), stage("square", 100, fooled, 0))
    subject = record(attack("cascade", 100 - fooled, stages=members))
    assert levels("black-box-beats-white-box", subject) == expected


def test_a_black_box_member_proves_nothing_before_gradients_were_tried():
    first = (stage("square", 183, 60, 0), stage("apgd-ce", 123, 3, 9_000))
    alone = (stage("apgd-ce", 0, 0, 0), stage("square", 183, 60, 0))
    idle = (stage("apgd-ce", 183, 100, 9_000), stage("square", 0, 0, 0))
    for members in (first, alone, idle):
        assert found("black-box-beats-white-box", record(attack("cascade", 120, stages=members))) == []
