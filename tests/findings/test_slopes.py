"""Gradients that do not lead uphill, and advice that names nothing that ran."""

from __future__ import annotations

import re

import pytest

from lsa_audit.findings import HEALTH_RULES, find_all
from lsa_audit.records import UnboundedTrial

from .records import FGSM, LARGE, PGD, SMALL, attack, found, health, levels, pair, record, signs, slopes, stage

RULE = "wrong-gradients"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"downhill": 1}, []),
        ({"downhill": 6}, []),
        ({"downhill": 7}, ["error"]),
        ({"downhill": 64}, ["error"]),
        ({"images": 3, "tested": 3, "downhill": 1}, ["warning"]),
        ({"images": 3, "tested": 3, "downhill": 2}, ["error"]),
        ({"tested": 0}, []),
        ({"parts_downhill": 25}, []),
        ({"parts_downhill": 26}, ["error"]),
        ({"smooth": 255, "parts_downhill": 60}, []),
        ({"images": 2, "tested": 2, "parts": 16, "smooth": 16, "parts_downhill": 4}, []),
    ],
)
def test_where_a_slope_is_wrong(changes, expected):
    assert levels(RULE, record(health=health(slopes=slopes(**changes)))) == expected


def test_nothing_is_at_stake_where_the_model_is_not_robust():
    subject = record(attack("pgd", 5), health=health(slopes=slopes(downhill=64)))
    assert levels(RULE, subject) == ["warning"]
    assert found(RULE, record(health=health(slopes=None))) == []


def test_an_attack_without_gradients_does_not_make_up_for_wrong_ones():
    subject = record(attack("pgd", 180), attack("square", 100), health=health(slopes=slopes(downhill=64)))
    assert levels(RULE, subject) == ["error"]


@pytest.mark.parametrize(("tiny", "downhill", "level"), [(64, 0, "note"), (0, 0, "error"), (64, 40, "error")])
def test_gradients_that_are_tiny_by_scale_alone_are_no_error(tiny, downhill, level):
    vanishing = attack("pgd", 100, signs=signs(vanishing_gradient=100))
    subject = record(vanishing, health=health(slopes=slopes(tiny=tiny, downhill=downhill)))
    assert levels("vanishing-gradients", subject) == [level]


def trial(images: int, fooled: int, by_chance: int | None) -> UnboundedTrial:
    return UnboundedTrial(perturbation="apgd-ce", images=images, fooled=fooled, by_chance=by_chance)


@pytest.mark.parametrize(
    ("images", "fooled", "by_chance", "expected"),
    [
        (64, 64, 64, []),
        (64, 60, 0, ["warning"]),
        (64, 60, 40, ["error"]),
        (64, 62, 62, ["error"]),
        (64, 63, 63, ["error"]),
        (64, 63, 60, ["warning"]),
        (64, 60, None, ["warning"]),
    ],
)
def test_the_unbounded_attack_must_find_more_than_chance(images, fooled, by_chance, expected):
    subject = record(health=health(unbounded=trial(images, fooled, by_chance)))
    assert levels("unbounded-attack-fails", subject) == expected


def test_survivors_of_a_cascade_that_took_nearly_all_condemn_nothing():
    attacks = (attack("cascade", 120, SMALL), attack("cascade", 2))
    assert levels("unbounded-attack-fails", record(*attacks, health=health(unbounded=trial(2, 0, 0)))) == ["warning"]
    attacks = (attack("cascade", 120, SMALL), attack("cascade", 20))
    assert levels("unbounded-attack-fails", record(*attacks, health=health(unbounded=trial(20, 0, 0)))) == ["error"]


BAD = {"nonfinite_gradient": 40, "vanishing_gradient": 90, "rising_share": 0.0, "fooled_later": 0}
ONE_STEP = {
    "zero-gradients": {"zero_gradient": 60},
    "vanishing-gradients": {"signs": signs(vanishing_gradient=110)},
    "nonfinite-gradients": {"signs": signs(nonfinite_gradient=40)},
}


@pytest.mark.parametrize("rule", ONE_STEP)
def test_a_defect_of_one_step_is_a_footnote_beside_a_stronger_attack(rule):
    weak = attack("fgsm", 120, **ONE_STEP[rule])
    assert levels(rule, record(weak)) == ["error"]
    assert levels(rule, record(weak, attack("pgd", 121))) == ["error"]
    assert levels(rule, record(weak, attack("pgd", 120))) == ["note"]
    assert levels(rule, record(weak, attack("cascade", 90))) == ["note"]


def test_one_step_that_overshoots_is_a_footnote_where_several_steps_find_as_much():
    pairs = (pair("larger-epsilon", 20, 120, "fgsm@linf-small", FGSM),)
    subject = record(attack("fgsm", 120), attack("pgd", 120), health=health(comparisons=pairs))
    assert levels("weaker-with-larger-epsilon", subject) == ["note"]


def test_logits_that_break_are_an_error_only_where_the_figure_counts_them():
    broken = attack("fgsm", 100, nonfinite=3)
    assert levels("nonfinite-logits", record(broken)) == ["error"]
    assert levels("nonfinite-logits", record(broken, attack("pgd", 101))) == ["error"]
    assert levels("nonfinite-logits", record(broken, attack("pgd", 100))) == ["warning"]
    assert levels("nonfinite-logits", record(broken, attack("pgd", 90, nonfinite=1))) == ["error", "error"]


MEMBERS = (
    stage("apgd-ce", 183, 40, 9),
    stage("apgd-t", 143, 3, 9),
    stage("fab-t", 140, 0, 9),
    stage("square", 140, 0, 0),
)


@pytest.mark.parametrize("stages", [(), MEMBERS])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ["autoattack", "pgd"])
def test_no_advice_names_what_ran(name, norm, stages):
    """Everything is wrong at once: each finding's advice is read."""
    sick = attack(name, 140, LARGE, norm, zero_gradient=60, nonfinite=3, signs=signs(**BAD), stages=stages)
    pairs = tuple(
        pair(suspicion, 60, 140, "x", sick.perturbation.id)
        for suspicion in ("more-steps", "larger-epsilon", "black-box", "noise")
    )
    changes = {"saturated": 150, "comparisons": pairs, "unbounded": trial(64, 10, 5), "slopes": slopes(downhill=30)}
    subject = record(sick, health=health(**changes))
    told = [finding for finding in find_all(subject) if finding.rule in HEALTH_RULES]
    assert len(told) >= 9
    offered = set()
    for finding in told:
        for sentence in re.findall(r"[Aa]dd ([^.]*)", finding.message):
            offered |= set(re.findall(r"apgd-t|apgd-dlr|fab-t|square|autoattack|cascade", sentence))
    ran = {"apgd-t", "fab-t", "square"} if name == "autoattack" or stages else set()
    known = {"linf": {"apgd-t", "apgd-dlr", "fab-t", "square"}, "l1": {"fab-t"}}
    assert not offered & ran
    assert offered <= known.get(norm, known["linf"])
    assert offered or name == "autoattack" or stages or norm == "l1"


def test_advice_says_what_is_missing():
    blind = attack("pgd", 100, zero_gradient=60)
    (finding,) = found("zero-gradients", record(blind))
    assert finding.message.endswith("Add apgd-t and square.")
    (finding,) = found("zero-gradients", record(blind, attack("apgd-t", 100, zero_gradient=60)))[:1]
    assert finding.subject == PGD
    assert finding.message.endswith("Add square.")
