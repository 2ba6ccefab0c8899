"""The losses of the bases against slow formulas, and where logits saturate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import pytest
import torch

from lsa_audit.hardening.training.base import Objective
from lsa_audit.hardening.training.bases import BASES
from lsa_audit.hardening.training.objectives import CrossEntropy, Mart, Trades, divergence
from lsa_audit.settings.recipe import Base, Recipe

SATURATED = torch.tensor([[100.0, -100.0, 0.0], [-100.0, 100.0, 100.0], [0.0, 0.0, 100.0]])


def softmax(logits: Sequence[float]) -> list[float]:
    powers = [math.exp(value) for value in logits]
    return [power / sum(powers) for power in powers]


def kl(clean: list[float], moved: list[float]) -> float:
    return sum(before * math.log(before / after) for before, after in zip(clean, moved, strict=True))


def logits(classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Perturbed, clean, labels; the label is now the largest, now not."""
    generator = torch.Generator().manual_seed(classes)
    perturbed, clean = (2 * torch.randn(8, classes, generator=generator) for _ in range(2))
    return perturbed, clean, torch.randint(0, classes, (8,), generator=generator)


def test_smoothed_labels_share_what_they_lose() -> None:
    perturbed, _, labels = logits(4)
    expected = 0.0
    for row, label in zip(perturbed.tolist(), labels.tolist(), strict=True):
        costs = [-math.log(share) for share in softmax(row)]
        expected += (0.9 * costs[label] + 0.1 * sum(costs) / 4) / len(labels)
    assert CrossEntropy(0.1).loss(perturbed, None, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
def test_trades_equals_its_formula(classes: int) -> None:
    perturbed, clean, labels = logits(classes)
    expected = 0.0
    for moved, before, label in zip(perturbed.tolist(), clean.tolist(), labels.tolist(), strict=True):
        shares = softmax(before)
        expected += (-math.log(shares[label]) + 6 * kl(shares, softmax(moved))) / len(labels)
    assert Trades(6.0).loss(perturbed, clean, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
def test_mart_equals_its_formula(classes: int) -> None:
    perturbed, clean, labels = logits(classes)
    expected = 0.0
    for moved, before, label in zip(perturbed.tolist(), clean.tolist(), labels.tolist(), strict=True):
        shares, after = softmax(before), softmax(moved)
        rival = max(share for place, share in enumerate(after) if place != label)
        loss = -math.log(after[label]) - math.log(1 - rival)
        expected += (loss + 5 * kl(shares, after) * (1 - shares[label])) / len(labels)
    assert Mart(5.0).loss(perturbed, clean, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("objective", [CrossEntropy(0.1), Trades(6.0), Mart(6.0)])
def test_saturated_logits_leave_a_finite_loss_and_gradient(objective: Objective) -> None:
    perturbed, clean = SATURATED.clone().requires_grad_(), SATURATED.flip(0).clone().requires_grad_()
    loss = objective.loss(perturbed, clean, torch.tensor([1, 1, 0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert perturbed.grad is not None
    assert torch.isfinite(perturbed.grad).all()
    assert perturbed.grad.abs().max() > 0.1
    if objective.needs_clean:
        assert clean.grad is not None
        assert torch.isfinite(clean.grad).all()


def test_both_forwards_learn_from_the_divergence() -> None:
    perturbed, clean, labels = logits(4)
    perturbed.requires_grad_()
    clean.requires_grad_()
    for objective in (Trades(6.0), Mart(6.0)):
        of_perturbed, of_clean = torch.autograd.grad(objective.loss(perturbed, clean, labels), [perturbed, clean])
        assert of_perturbed.abs().max() > 1e-3
        assert of_clean.abs().max() > 1e-3


def test_the_same_logits_do_not_diverge() -> None:
    perturbed, clean, _ = logits(4)
    assert torch.equal(divergence(clean, clean), torch.zeros(len(clean)))
    assert (divergence(clean, perturbed) > 0).all()


@pytest.mark.parametrize("objective", [Trades(6.0), Mart(6.0)])
def test_missing_clean_logits_are_named(objective: Objective) -> None:
    perturbed, _, labels = logits(4)
    with pytest.raises(ValueError, match="clean"):
        objective.loss(perturbed, None, labels)


def test_every_base_has_its_parts_and_hands_on_its_settings() -> None:
    assert set(BASES) == set(get_args(Base))
    perturbed, clean, labels = logits(4)
    for at, build in BASES.items():
        plain, smoothed, heavy = (
            build(Recipe(at=at, **settings))[1].loss(perturbed, clean, labels)  # type: ignore[arg-type]
            for settings in ({}, {"label_smoothing": 0.2}, {"beta": 20.0})
        )
        assert not torch.equal(plain, smoothed)
        assert torch.equal(plain, heavy) == (at not in ("trades", "mart"))
