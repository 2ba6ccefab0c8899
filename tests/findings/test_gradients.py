"""Zero, vanishing and non-finite gradients."""

from __future__ import annotations

import pytest

from .records import LARGE, SMALL, attack, found, levels, record, signs


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, ["warning"]), (2, ["error"])])
def test_zero_gradients_are_an_error_above_one_in_a_hundred(count, expected):
    assert levels("zero-gradients", record(attack("pgd", 100, zero_gradient=count))) == expected


def test_zero_gradients_are_named_with_their_numbers():
    (finding,) = found("zero-gradients", record(attack("pgd", 100, zero_gradient=37)))
    assert finding.group == "attack-health"
    assert finding.subject.startswith("pgd@")
    assert "37 of 100 robust verdicts" in finding.message


def test_another_sound_attack_as_strong_carries_the_figure():
    blind = attack("pgd", 100, zero_gradient=60)
    assert levels("zero-gradients", record(blind, attack("apgd-t", 100))) == ["warning"]
    assert levels("zero-gradients", record(blind, attack("apgd-t", 101))) == ["error"]
    assert levels("zero-gradients", record(blind, attack("apgd-t", 100, zero_gradient=2))) == ["error", "error"]


def test_an_attack_elsewhere_does_not_carry_the_figure():
    blind = attack("pgd", 100, zero_gradient=60)
    assert levels("zero-gradients", record(blind, attack("apgd-t", 40, SMALL))) == ["error"]
    assert levels("zero-gradients", record(blind, attack("apgd-t", 40, LARGE, norm="l2"))) == ["error"]


def test_an_attack_without_gradients_does_not_take_over():
    blind = attack("pgd", 180, zero_gradient=180)
    assert levels("zero-gradients", record(blind, attack("square", 90))) == ["error"]


def test_where_next_to_nothing_is_robust_nothing_can_be_too_high():
    blind = attack("pgd", 76, zero_gradient=70)
    assert levels("zero-gradients", record(blind, attack("square", 9))) == ["warning"]
    assert levels("zero-gradients", record(blind, attack("square", 10))) == ["error"]


@pytest.mark.parametrize(("count", "expected"), [(1, []), (2, ["warning"]), (50, ["warning"]), (51, ["error"])])
def test_vanishing_gradients(count, expected):
    assert levels("vanishing-gradients", record(attack("pgd", 100, signs=signs(vanishing_gradient=count)))) == expected


def test_zero_gradients_are_not_told_twice():
    subject = record(attack("pgd", 100, zero_gradient=60, signs=signs(vanishing_gradient=60)))
    assert levels("vanishing-gradients", subject) == []


def test_an_attack_with_zero_gradients_does_not_speak_for_one_with_tiny_ones():
    tiny = attack("pgd", 100, signs=signs(vanishing_gradient=60))
    blind = attack("apgd-ce", 100, zero_gradient=60, signs=signs(vanishing_gradient=60))
    assert levels("vanishing-gradients", record(tiny, blind)) == ["error"]
    assert levels("vanishing-gradients", record(tiny, attack("apgd-t", 100))) == ["warning"]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, ["warning"]), (2, ["error"])])
def test_nonfinite_gradients(count, expected):
    assert levels("nonfinite-gradients", record(attack("pgd", 100, signs=signs(nonfinite_gradient=count)))) == expected


def test_nonfinite_gradients_of_images_that_all_fell_are_a_smaller_matter():
    assert levels("nonfinite-gradients", record(attack("pgd", 0, signs=signs(nonfinite_gradient=150)))) == ["warning"]


@pytest.mark.parametrize("rule", ["zero-gradients", "vanishing-gradients", "nonfinite-gradients"])
def test_healthy_attacks_and_noise_are_left_alone(rule):
    noise = attack("gaussian", 180, signs=None)
    noise = noise.model_copy(update={"perturbation": noise.perturbation.model_copy(update={"kind": "noise"})})
    assert found(rule, record()) == []
    assert found(rule, record(noise, attack("square", 100))) == []
