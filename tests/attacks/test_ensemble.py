"""AutoAttack with its published settings, the cascade within a budget, and what each member is left with."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from lsa_audit.attacks import ensemble
from lsa_audit.attacks.base import Batch, judge
from lsa_audit.attacks.budget import Budget
from lsa_audit.attacks.ensemble import STANDARD, Member, cascade, run_members
from lsa_audit.attacks.functions import FUNCTIONS

from .linear import between, linear_case


def settings(members: tuple[Member, ...]) -> list[tuple[str, int, int]]:
    return [(member.name, member.steps, member.classes) for member in members]


def cost(members: tuple[Member, ...]) -> int:
    passes = {"apgd-ce": 3, "apgd-t": 3, "fab-t": 4, "square": 1}
    return sum(passes[member.name] * member.steps * max(member.classes, 1) for member in members)


PUBLISHED = [("apgd-ce", 100, 0), ("apgd-t", 100, 9), ("fab-t", 100, 9), ("square", 5000, 0)]


def test_autoattack_has_the_published_settings_and_no_others():
    assert settings(STANDARD) == PUBLISHED


@pytest.mark.parametrize("passes", [11_600, 20_000])
def test_a_large_enough_cascade_is_autoattack(passes):
    assert settings(cascade(passes)) == PUBLISHED


@pytest.mark.parametrize("passes", [1, 60, 100, 200, 600, 1000, 3000, 6000, 8000, 11_599])
def test_a_cascade_keeps_to_its_budget_and_ends_with_square(passes):
    members = cascade(passes)
    assert cost(members) <= max(passes, 31)
    assert members[0].name == "apgd-ce"
    assert members[-1].name == "square"
    assert members[-1].steps == min(max(passes // 2, 1), 5000)
    assert all(20 <= member.steps <= 100 for member in members[1:-1])


def test_more_passes_never_take_anything_away():
    chosen = [{member.name: member.steps * max(member.classes, 1) for member in cascade(n)} for n in range(100, 12_000)]
    for fewer, more in pairwise(chosen):
        assert set(fewer) <= set(more)
        assert all(more[name] >= 0.9 * fewer[name] for name in fewer)


def test_each_member_works_on_what_is_left_and_is_noted():
    case = linear_case((3, 4, 4), 5, 16, seed=3)
    epsilon = between(case.optimum("linf"))
    labels = case.labels.clone()
    labels[0] = (labels[0] + 1) % 5
    right = case.module(case.images).argmax(1) == labels
    batch = Batch(case.images, labels, tuple(str(index) for index in range(16)), right)
    outcome = judge(case.module, FUNCTIONS["cascade"], batch, Budget("linf", epsilon, steps=600), seed=0)
    first, targeted, square = outcome.stages
    assert [stage.name for stage in outcome.stages] == ["apgd-ce", "apgd-t", "square"]
    assert first.images == 15
    assert targeted.images == first.images - first.fooled
    assert square.images == targeted.images - targeted.fooled
    assert targeted.classes == 4
    assert sum(stage.forwards for stage in outcome.stages) == outcome.forwards - 16
    assert sum(stage.fooled for stage in outcome.stages) == 15 - int(outcome.right.sum())
    assert square.forwards == 301 * square.images
    assert torch.equal(outcome.right[1:], case.optimum("linf")[1:] > epsilon)


def test_members_that_find_nothing_left_are_noted_and_cost_nothing():
    case = linear_case((3, 4, 4), 2, 6, seed=3)
    epsilon = 3 * float(case.optimum("linf").max())
    batch = Batch(case.images, case.labels, tuple("abcdef"))
    outcome = judge(case.module, FUNCTIONS["autoattack"], batch, Budget("linf", epsilon), seed=0)
    assert not outcome.right.any()
    assert [stage.images for stage in outcome.stages] == [6, 0, 0, 0]
    assert [stage.forwards for stage in outcome.stages[1:]] == [0, 0, 0]


def test_only_the_first_member_spends_its_budget_on_fallen_images():
    case = linear_case((3, 4, 4), 2, 6, seed=3)
    budget = Budget("linf", 3 * float(case.optimum("linf").max()), steps=600, spend_all=True)
    batch = Batch(case.images, case.labels, tuple("abcdef"))
    outcome = judge(case.module, FUNCTIONS["cascade"], batch, budget, seed=0)
    assert outcome.stages[0].backwards == 6 * 11
    assert [stage.images for stage in outcome.stages] == [6, 0, 0]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("indices", [(3, 7), pytest.param(range(10), marks=pytest.mark.slow)])
def test_the_whole_of_autoattack_on_a_linear_model(norm, indices, monkeypatch):
    monkeypatch.setattr(ensemble, "STANDARD", tuple(replace(member, steps=40) for member in STANDARD))
    case = linear_case((3, 4, 4), 6, 10, seed=2)
    optimum = case.optimum(norm)
    for index in indices:
        for factor, slack, right in ((1.01, 0.0, False), (0.99, 2e-6, True)):
            batch = Batch(case.images[index : index + 1], case.labels[index : index + 1], (str(index),))
            budget = Budget(norm, max(factor * float(optimum[index]) - slack, 0.0))
            assert bool(judge(case.module, FUNCTIONS["autoattack"], batch, budget, seed=0).right[0]) is right


def test_the_budget_is_given_back_after_the_members():
    case = linear_case((2,), 2, 2, seed=0)
    seen = []

    def watching(target, rows, draws):
        before = target.budget
        images = run_members(target, rows, draws, cascade(100))
        seen.append(target.budget == before)
        return images

    judge(case.module, watching, Batch(case.images, case.labels, ("a", "b")), Budget("linf", 1e-4, restarts=2), seed=0)
    assert seen == [True, True]
