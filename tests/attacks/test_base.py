"""The judge: what it refuses, what it reports, and that an attack cannot talk it into anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.attacks.base import Batch, Target, judge
from lsa_audit.attacks.budget import Budget
from lsa_audit.attacks.draws import Draws
from lsa_audit.attacks.functions import FUNCTIONS
from lsa_audit.errors import DataError, UsageError

from .linear import between, linear_case

IDS = tuple(str(index) for index in range(8))


def batch_of(case, images: Tensor | None = None) -> Batch:
    return Batch(case.images if images is None else images, case.labels, IDS[: len(case.images)])


def test_an_attack_that_leaves_the_ball_is_clipped_and_gains_nothing():
    case = linear_case((3, 4, 4), 4, 8, seed=0)

    def cheat(target: Target, rows: Tensor, draws: Draws) -> Tensor:
        far = torch.rand(target.images[rows].shape, generator=torch.Generator().manual_seed(0))
        target.logits(far, rows)
        return far

    outcome = judge(case.module, cheat, batch_of(case), Budget("linf", 1e-6), seed=0)
    assert outcome.right.all()
    assert (outcome.adversarial - case.images).abs().max() <= 2e-6


def test_a_fooling_image_met_on_the_way_counts_although_the_last_one_does_not_fool():
    case = linear_case((3, 4, 4), 2, 8, seed=0)

    def there_and_back(target: Target, rows: Tensor, draws: Draws) -> Tensor:
        gradient, _ = target.gradient(target.images[rows], rows)
        target.logits(target.images[rows] + target.budget.epsilon * gradient.sign(), rows)
        return target.images[rows]

    outcome = judge(case.module, there_and_back, batch_of(case), Budget("linf", 0.2), seed=0)
    assert not outcome.right.any()
    assert torch.equal(outcome.final, case.images)
    assert outcome.forwards == 8 * 3
    assert outcome.backwards == 8


def test_not_finite_proposals_fall_back_to_the_clean_pixel():
    case = linear_case((3, 4, 4), 4, 8, seed=0)
    outcome = judge(
        case.module,
        lambda target, rows, draws: target.images[rows] * float("nan"),
        batch_of(case),
        Budget("linf", 0.1),
        seed=0,
    )
    assert outcome.right.all()
    assert torch.equal(outcome.adversarial, case.images)


class Poisoned(nn.Module):
    """Gives NaN logits as soon as an image is perturbed."""

    def __init__(self, clean: Tensor, network: nn.Module) -> None:
        super().__init__()
        self.clean, self.network = clean, network

    def forward(self, images: Tensor) -> Tensor:
        moved = (images - self.clean[: len(images)]).flatten(1).abs().amax(1, keepdim=True) > 0
        return self.network(images).masked_fill(moved, float("nan"))


def test_nan_logits_are_never_right_and_are_counted():
    case = linear_case((3, 4, 4), 4, 8, seed=0)
    outcome = judge(
        Poisoned(case.images, case.module), FUNCTIONS["gaussian"], batch_of(case), Budget("linf", 0.1), seed=0
    )
    assert not outcome.right.any()
    assert outcome.nonfinite.all()


class Staircase(nn.Module):
    """Rounds its input, so that every gradient is zero."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(torch.round(images * 4) / 4)


class Detached(Staircase):
    """Cuts the graph."""

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.detach())


@pytest.mark.parametrize("wrapper", [Staircase, Detached])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd-ce"])
def test_robust_verdicts_without_a_gradient_are_reported_as_not_attacked(wrapper, name):
    case = linear_case((3, 4, 4), 4, 8, seed=0)
    module = wrapper(case.module)
    labels = module(case.images).argmax(1)
    outcome = judge(module, FUNCTIONS[name], Batch(case.images, labels, IDS), Budget("linf", 0.01, steps=5), seed=0)
    assert outcome.right.any()
    assert torch.equal(outcome.zero_gradient, outcome.right)


def test_noise_is_not_blamed_for_using_no_gradient():
    case = linear_case((3, 4, 4), 4, 8, seed=0)
    outcome = judge(case.module, FUNCTIONS["uniform"], batch_of(case), Budget("linf", 0.01), seed=0, gradients=False)
    assert not outcome.zero_gradient.any()
    assert outcome.backwards == 0


def test_later_restarts_work_on_survivors_only():
    case = linear_case((3, 4, 4), 4, 8, seed=9)
    budget = Budget("linf", between(case.optimum("linf")), steps=5, spend_all=True)
    once = judge(case.module, FUNCTIONS["pgd"], batch_of(case), budget, seed=0)
    four = judge(case.module, FUNCTIONS["pgd"], batch_of(case), replace(budget, restarts=4), seed=0)
    assert torch.equal(once.final, four.final)
    assert (four.right <= once.right).all()
    survivors = int(once.right.sum())
    assert 0 < survivors < 8
    assert four.backwards <= once.backwards + 3 * 5 * survivors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images * 255, "not \\[0, 1\\]"),
        (lambda images: images - 1, "not \\[0, 1\\]"),
        (lambda images: images.masked_fill(images == images.max(), float("nan")), "not \\[0, 1\\]"),
        (lambda images: images.double(), "float64"),
        (lambda images: (images * 255).to(torch.uint8), "uint8"),
    ],
)
def test_images_outside_the_threat_model_are_refused(change, message):
    case = linear_case((3, 4, 4), 4, 8, seed=0)
    with pytest.raises(DataError, match=message):
        judge(case.module, FUNCTIONS["fgsm"], batch_of(case, change(case.images)), Budget("linf", 0.1), seed=0)


@pytest.mark.parametrize("arguments", [("linf", 8.0), ("linf", -0.1), ("linf", float("nan")), ("l2", float("inf"))])
def test_an_epsilon_that_is_no_radius_is_refused(arguments):
    with pytest.raises(UsageError):
        Budget(*arguments)


def test_gradients_are_those_of_the_summed_cross_entropy():
    case = linear_case((3, 4, 4), 4, 8, seed=0)
    target = Target(case.module, case.images, case.labels, Budget("linf", 0.1))
    gradient, losses = target.gradient(case.images, torch.arange(8))
    leaf = case.images.clone().requires_grad_(True)
    expected = functional.cross_entropy(case.module(leaf), case.labels, reduction="none")
    expected.sum().backward()
    assert torch.allclose(gradient, leaf.grad)
    assert torch.allclose(losses, expected)
