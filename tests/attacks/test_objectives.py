"""The objectives against their formulas written out, and what they must not depend on."""

from __future__ import annotations

import math

import pytest
import torch

from lsa_audit.attacks.objectives import cross_entropy, difference, dlr, log_odds, margin, targeted_dlr

LOGITS = torch.tensor([[5.0, 3.0, 1.0, 0.0], [2.0, 7.0, 4.0, 1.0]])
LABELS, TARGETS = torch.tensor([0, 2]), torch.tensor([1, 0])


def test_the_difference_of_logits_ratio():
    # -(5 - 3) / (5 - 1) for a right answer, -(4 - 7) / (7 - 2) for a wrong one.
    assert torch.allclose(dlr(LOGITS, LABELS, LABELS), torch.tensor([-0.5, 0.6]))


def test_the_targeted_ratio():
    # -(5 - 3) / (5 - (1 + 0) / 2), -(4 - 2) / (7 - (2 + 1) / 2)
    assert torch.allclose(targeted_dlr(LOGITS, LABELS, TARGETS), torch.tensor([-2 / 4.5, -2 / 5.5]))


def test_three_classes_and_two():
    # The targeted ratio of three classes would be -1 throughout towards the third.
    three, two = LOGITS[:, :3], LOGITS[:, :2]
    zeros, ones, last = torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([2, 0])
    for targets in (TARGETS, last):
        assert torch.equal(targeted_dlr(three, LABELS, targets), difference(three, LABELS, targets))
    assert torch.allclose(dlr(three, LABELS, LABELS), torch.tensor([-2 / 4, 3 / 5]))
    assert torch.allclose(dlr(two, zeros, zeros), torch.tensor([-2.0, 5.0]))
    assert torch.allclose(targeted_dlr(two, zeros, ones), difference(two, zeros, ones))


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
@pytest.mark.parametrize("objective", [cross_entropy, dlr, targeted_dlr, difference, margin, log_odds])
def test_every_objective_has_a_slope_towards_every_class(objective, classes):
    logits = torch.randn(30, classes, generator=torch.Generator().manual_seed(1))
    labels = logits.argmax(1)
    for place in range(1, classes):
        leaf = logits.clone().requires_grad_(True)
        targets = logits.argsort(1, descending=True)[:, place]
        (slope,) = torch.autograd.grad(objective(leaf, labels, targets).sum(), leaf)
        assert (slope.abs().amax(1) > 1e-7).all()


@pytest.mark.parametrize("left", [2, 3, 4])
@pytest.mark.parametrize("objective", [cross_entropy, dlr, targeted_dlr, difference, margin, log_odds])
def test_masked_classes_change_nothing(objective, left):
    few = 3 * torch.randn(30, left, generator=torch.Generator().manual_seed(2))
    labels, targets = few.argmax(1), few.argmin(1)

    def masked(logits):
        return torch.cat([logits, torch.full((30, 3), -torch.inf)], dim=1)

    values, slopes = [], []
    for widen in (lambda logits: logits, masked):
        leaf = few.clone().requires_grad_(True)
        found = objective(widen(leaf), labels, targets)
        values.append(found.detach())
        slopes += torch.autograd.grad(found.sum(), leaf)
    assert torch.allclose(values[0], values[1])
    assert torch.allclose(slopes[0], slopes[1], atol=1e-6)


def test_log_odds_rises_with_the_cross_entropy_and_never_goes_flat():
    logits = torch.tensor([[3.0, 1.0, -2.0], [200.0, 0.0, 10.0]], requires_grad=True)
    labels = torch.tensor([0, 0])
    expected = torch.tensor([math.log(math.exp(1) + math.exp(-2)) - 3, math.log1p(math.exp(-10)) - 190])
    assert torch.allclose(log_odds(logits, labels, labels).float(), expected)
    assert cross_entropy(logits, labels, labels)[1] == 0
    (slope,) = torch.autograd.grad(log_odds(logits, labels, labels).sum(), logits)
    assert (slope.abs().amax(1) > 0.9).all()


def test_cross_entropy():
    expected = LOGITS.logsumexp(1) - torch.tensor([5.0, 4.0])
    assert torch.allclose(cross_entropy(LOGITS, LABELS, LABELS), expected)


@pytest.mark.parametrize("objective", [dlr, targeted_dlr])
def test_ratios_do_not_depend_on_scale_or_shift(objective):
    changed = objective(1e4 * LOGITS - 7, LABELS, TARGETS)
    assert torch.allclose(changed, objective(LOGITS, LABELS, TARGETS), rtol=1e-4)


@pytest.mark.parametrize("objective", [dlr, targeted_dlr])
def test_equal_logits_give_a_finite_number(objective):
    assert torch.isfinite(objective(torch.zeros(2, 4), LABELS, TARGETS)).all()
