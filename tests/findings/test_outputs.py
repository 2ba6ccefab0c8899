"""Logits that are not finite, probabilities, saturation."""

from __future__ import annotations

import pytest

from .records import SMALL, attack, found, health, levels, record, stage


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, ["error"])])
def test_logits_that_are_not_finite(count, expected):
    assert levels("nonfinite-logits", record(attack("pgd", 100, nonfinite=count))) == expected


@pytest.mark.parametrize(
    ("outputs", "expected"), [("logits", []), ("log-probabilities", ["note"]), ("probabilities", ["error"])]
)
def test_what_the_model_ends_in(outputs, expected):
    assert levels("probability-outputs", record(health=health(outputs=outputs))) == expected


def test_probabilities_matter_less_where_everything_falls():
    subject = record(attack("pgd", 9), attack("square", 9), health=health(outputs="probabilities"))
    assert levels("probability-outputs", subject) == ["warning"]


@pytest.mark.parametrize(("count", "expected"), [(20, []), (21, ["warning"]), (200, ["warning"])])
def test_saturated_clean_images(count, expected):
    assert levels("saturated-logits", record(health=health(saturated=count))) == expected


@pytest.mark.parametrize("other", ["apgd-t", "fab-t", "square", "deepfool"])
def test_saturation_is_a_note_beside_an_attack_that_compares_logits(other):
    subject = record(attack("pgd", 100), attack(other, 100), health=health(saturated=150))
    (finding,) = found("saturated-logits", subject)
    assert finding.level == "note"
    assert "150 of 200" in finding.message


def test_saturation_looks_at_every_epsilon_and_at_the_members_that_ran():
    at_one_epsilon = (attack("pgd", 100), attack("apgd-t", 100), attack("pgd", 140, SMALL))
    assert levels("saturated-logits", record(*at_one_epsilon, health=health(saturated=150))) == ["warning"]
    ran = (stage("apgd-ce", 183, 83, 9_000), stage("apgd-t", 0, 0, 0))
    assert levels("saturated-logits", record(attack("cascade", 100, stages=ran), health=health(saturated=150))) == [
        "warning"
    ]
    ran = (ran[0], stage("apgd-t", 100, 0, 9_000))
    assert levels("saturated-logits", record(attack("cascade", 100, stages=ran), health=health(saturated=150))) == [
        "note"
    ]


@pytest.mark.parametrize(("count", "expected"), [(100, []), (101, ["warning"]), (None, [])])
def test_outputs_at_their_bounds(count, expected):
    assert levels("saturated-outputs", record(health=health(at_bounds=count))) == expected


def test_outputs_at_their_bounds_matter_less_where_everything_falls():
    assert levels("saturated-outputs", record(attack("pgd", 9), health=health(at_bounds=150))) == ["note"]
