"""The objectives against their formulas written out, and what they must not depend on."""

from __future__ import annotations

import pytest
import torch

from lsa_audit.attacks.objectives import cross_entropy, difference, dlr, targeted_dlr

LOGITS = torch.tensor([[5.0, 3.0, 1.0, 0.0], [2.0, 7.0, 4.0, 1.0]])
LABELS, TARGETS = torch.tensor([0, 2]), torch.tensor([1, 0])


def test_the_difference_of_logits_ratio():
    # -(5 - 3) / (5 - 1) for a right answer, -(4 - 7) / (7 - 2) for a wrong one.
    assert torch.allclose(dlr(LOGITS, LABELS, LABELS), torch.tensor([-0.5, 0.6]))


def test_the_targeted_ratio():
    # -(5 - 3) / (5 - (1 + 0) / 2), -(4 - 2) / (7 - (2 + 1) / 2)
    assert torch.allclose(targeted_dlr(LOGITS, LABELS, TARGETS), torch.tensor([-2 / 4.5, -2 / 5.5]))


def test_three_classes_and_two():
    three, two = LOGITS[:, :3], LOGITS[:, :2]
    assert torch.allclose(targeted_dlr(three, LABELS, TARGETS), torch.tensor([-2 / 4, -2 / 5]))
    zeros, ones = torch.tensor([0, 0]), torch.tensor([1, 1])
    assert torch.allclose(dlr(two, zeros, zeros), torch.tensor([-2.0, 5.0]))
    assert torch.allclose(targeted_dlr(two, zeros, ones), difference(two, zeros, ones))


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
