"""Unbounded attacks, objectives that do not rise, success at the first step only."""

from __future__ import annotations

import pytest

from lsa_audit.records import UnboundedTrial

from .records import attack, found, health, levels, record, signs, stage


@pytest.mark.parametrize(("fooled", "expected"), [(32, []), (31, ["warning"]), (29, ["warning"]), (28, ["error"])])
def test_survivors_of_an_unbounded_attack(fooled, expected):
    trial = UnboundedTrial(perturbation="pgd, 20 steps, epsilon 1", images=32, fooled=fooled)
    assert levels("unbounded-attack-fails", record(health=health(unbounded=trial))) == expected


def test_one_survivor_of_few_images_may_be_an_accident():
    trial = UnboundedTrial(perturbation="pgd, 20 steps, epsilon 1", images=3, fooled=2)
    assert levels("unbounded-attack-fails", record(health=health(unbounded=trial))) == ["warning"]


def test_without_a_trial_nothing_is_said():
    assert found("unbounded-attack-fails", record(health=health(unbounded=None))) == []


@pytest.mark.parametrize(("share", "expected"), [(None, []), (0.05, []), (0.04, ["error"]), (0.0, ["error"])])
def test_fewer_than_one_rising_step(share, expected):
    assert levels("objective-does-not-rise", record(attack("pgd", 100, signs=signs(rising_share=share)))) == expected


def test_a_low_share_of_many_steps_is_no_sign():
    steady = attack("pgd", 100, signs=signs(rising_share=0.01))
    steady = steady.model_copy(update={"perturbation": steady.perturbation.model_copy(update={"steps": 100})})
    assert found("objective-does-not-rise", record(steady)) == []


def test_one_step_and_epsilon_zero_cannot_rise():
    flat = signs(rising_share=0.0)
    assert found("objective-does-not-rise", record(attack("fgsm", 100, signs=flat))) == []
    assert found("objective-does-not-rise", record(attack("pgd", 183, epsilon=0.0, signs=flat))) == []


def test_a_flat_search_beside_one_that_rises():
    flat = attack("pgd", 100, signs=signs(rising_share=0.0))
    assert levels("objective-does-not-rise", record(flat, attack("apgd-t", 90))) == ["warning"]
    also_flat = attack("apgd-t", 90, signs=signs(rising_share=0.0))
    assert levels("objective-does-not-rise", record(flat, also_flat)) == ["error", "error"]


def test_a_cross_entropy_of_zero_hides_the_rise():
    sure = health(saturated=150)
    flat = signs(rising_share=0.0)
    assert levels("objective-does-not-rise", record(attack("pgd", 100, signs=flat), health=sure)) == ["warning"]
    assert levels("objective-does-not-rise", record(attack("apgd-dlr", 100, signs=flat), health=sure)) == ["error"]


def test_an_ensemble_is_measured_by_the_steps_of_its_members():
    members = (stage("apgd-ce", 183, 83, 9_000), stage("square", 100, 0, 0))
    flat = attack("cascade", 100, stages=members, signs=signs(rising_share=0.01))
    (finding,) = found("objective-does-not-rise", record(flat))
    assert "0.5 of 50 steps" in finding.message


@pytest.mark.parametrize(("later", "expected"), [(0, ["warning"]), (1, [])])
def test_success_at_the_first_step_only(later, expected):
    assert levels("first-step-only", record(attack("pgd", 100, signs=signs(fooled_later=later)))) == expected


def test_few_fallen_images_one_step_and_no_survivors_are_no_sign():
    first = signs(fooled_later=0)
    assert levels("first-step-only", record(attack("pgd", 173, signs=first))) == ["warning"]
    assert found("first-step-only", record(attack("pgd", 174, signs=first))) == []
    assert found("first-step-only", record(attack("fgsm", 100, signs=first))) == []
    assert found("first-step-only", record(attack("pgd", 0, signs=first))) == []


def test_images_whose_verdict_follows_from_another_epsilon_did_not_fall_here():
    first = signs(fooled_later=0)
    assert found("first-step-only", record(attack("pgd", 100, attacked=105, signs=first))) == []
    assert levels("first-step-only", record(attack("pgd", 100, attacked=120, signs=first))) == ["warning"]
