"""What the target remembers of an attack, and queries in low precision or through a compiled module."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.attacks.base import Batch, Engine, Outcome, judge
from lsa_audit.attacks.budget import Budget
from lsa_audit.attacks.functions import FUNCTIONS

from .linear import agree, linear_case

IDS = tuple(str(index) for index in range(8))


def run(module: nn.Module, name: str, budget: Budget, **settings) -> Outcome:
    case = linear_case((3, 4, 4), 4, 8, seed=0)
    labels = module(case.images).argmax(1)
    return judge(module, FUNCTIONS[name], Batch(case.images, labels, IDS), budget, seed=0, **settings)


def linear() -> nn.Module:
    return linear_case((3, 4, 4), 4, 8, seed=0).module


class Spoiled(nn.Module):
    """Passes logits on, and spoils the gradient on its way back."""

    def __init__(self, network: nn.Module, spoil) -> None:
        super().__init__()
        self.network, self.spoil = network, spoil

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        if logits.requires_grad:
            logits.register_hook(self.spoil)
        return logits


def test_gradients_that_are_not_finite_are_counted_and_worked_around():
    def one_nan(gradient: Tensor) -> Tensor:
        spoiled = gradient.clone()
        spoiled[0] = float("nan")
        return spoiled

    outcome = run(Spoiled(linear(), one_nan), "pgd", Budget("linf", 1e-4, steps=5))
    assert outcome.nonfinite_gradient.tolist() == [True] + 7 * [False]
    assert outcome.zero_gradient.tolist() == [True] + 7 * [False]
    assert outcome.right.all()


def test_vanishing_gradients_are_told_from_zero_ones():
    outcome = run(Spoiled(linear(), lambda gradient: 1e-14 * gradient), "apgd-ce", Budget("linf", 1e-5, steps=5))
    assert outcome.vanishing_gradient.all()
    assert not outcome.zero_gradient.any()
    healthy = run(linear(), "apgd-ce", Budget("linf", 1e-5, steps=5))
    assert not healthy.vanishing_gradient.any()


def test_rising_steps_are_counted():
    outcome = run(linear(), "pgd", Budget("linf", 0.004, steps=9, step_size=1e-4, spend_all=True))
    assert (outcome.climbs == 8).all()
    # The loss of a linear model is convex along a straight way: it rises at every step inside the ball.
    assert (outcome.rises == 8).all()
    backwards = run(
        Spoiled(linear(), lambda gradient: -gradient), "pgd", Budget("linf", 0.004, steps=9, step_size=1e-4)
    )
    assert (backwards.rises == 0).all()


def test_images_that_fall_at_the_first_step_are_told_from_later_ones():
    at_once = run(linear(), "pgd", Budget("linf", 0.5, steps=5, step_size=0.5))
    assert not at_once.right.any()
    assert not at_once.fooled_later.any()
    slowly = run(linear(), "pgd", Budget("linf", 0.05, steps=40, step_size=0.002))
    assert slowly.fooled_later.any()


def test_images_that_are_wrong_before_are_not_attacked():
    case = linear_case((3, 4, 4), 4, 8, seed=0)
    right = torch.tensor([True, False] * 4)
    labels = torch.where(right, case.labels, (case.labels + 1) % 4)
    batch = Batch(case.images, labels, IDS, right)
    outcome = judge(case.module, FUNCTIONS["pgd"], batch, Budget("linf", 1e-6, steps=5), seed=0)
    assert outcome.backwards == 4 * 5
    assert torch.equal(outcome.right, right)
    assert torch.equal(outcome.adversarial[~right], case.images[~right])
    assert outcome.distance[~right].tolist() == 4 * [0.0]
    assert torch.isinf(outcome.distance[right]).all()


def test_the_nearest_fooling_image_is_kept_on_request():
    def outward(target, rows, draws):
        direction = torch.sign(target.gradient(target.images[rows], rows)[0])
        for size in (0.4, 0.1, 0.2, 0.3):
            target.logits((target.images[rows] + size * direction).clamp(0, 1), rows)
        return target.images[rows]

    case = linear_case((3, 4, 4), 2, 8, seed=0)
    batch = Batch(case.images, case.labels, IDS)
    nearest = judge(case.module, outward, batch, Budget("linf", 1.0, nearest=True), seed=0)
    first = judge(case.module, outward, batch, Budget("linf", 1.0), seed=0)
    assert torch.allclose(nearest.distance, torch.full((8,), 0.1), atol=1e-6)
    assert torch.allclose(first.distance, torch.full((8,), 0.4), atol=1e-6)


LOW: list[int] = []
"""Images of each forward in low precision. What a module counts itself is taken back when an attack is over."""


class Coarse(nn.Module):
    """Wrong everywhere in low precision, always right in float32: only a look in float32 can tell."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        if torch.is_autocast_enabled("cpu"):
            LOW.append(len(images))
            return -logits
        return logits


@pytest.mark.slow_for("bf16-fab-t", "fp16-fab-t")
@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd-ce", "square", "fab-t"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_what_falls_in_low_precision_only_is_attacked_again_in_float32(name, precision):
    case = linear_case((3, 4, 4), 4, 8, seed=0)
    optimum = case.optimum("linf")
    for factor, fallen in ((0.5, 0), (2.0, 8)):
        LOW.clear()
        module = Coarse(case.module)
        epsilon = factor * float(optimum.max() if fallen else optimum.min())
        batch = Batch(case.images, case.labels, IDS)
        budget = Budget("linf", epsilon, steps=1 if name == "fgsm" else 40)
        outcome = judge(module, FUNCTIONS[name], batch, budget, seed=0, engine=Engine(precision=precision))
        assert LOW
        # One step of FGSM need not find the nearest of four classes.
        assert int((~outcome.right).sum()) == fallen or (name == "fgsm" and fallen)
        assert agree(case, outcome.adversarial, case.labels, outcome.right)


def test_what_falls_to_a_compiled_module_only_is_attacked_again_without_it():
    case = linear_case((3, 4, 4), 4, 8, seed=0)
    flipped = nn.Sequential(case.module, Negative())
    budget = Budget("linf", 2 * float(case.optimum("linf").max()), steps=40)
    batch = Batch(case.images, case.labels, IDS)
    outcome = judge(case.module, FUNCTIONS["pgd"], batch, budget, seed=0, engine=Engine(compiled=flipped))
    assert not outcome.right.any()
    with torch.no_grad():
        assert (case.module(outcome.adversarial).argmax(1) != case.labels).all()


class Negative(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return -logits


def test_small_gradients_survive_half_precision():
    outcome = run(
        Spoiled(linear(), lambda gradient: 1e-6 * gradient),
        "pgd",
        Budget("linf", 0.05, steps=10),
        engine=Engine(precision="fp16"),
    )
    assert not outcome.zero_gradient.any()


class Counting(nn.Module):
    def __init__(self, network: nn.Module, name: str, calls: Counter[str]) -> None:
        super().__init__()
        self.network = network
        self.count = lambda: calls.update([name])

    def forward(self, images: Tensor) -> Tensor:
        self.count()
        return self.network(images)


def test_a_compiled_module_is_only_queried_and_never_judges():
    calls: Counter[str] = Counter()
    module, compiled = (Counting(linear(), name, calls) for name in ("module", "compiled"))
    outcome = run(module, "pgd", Budget("linf", 0.01, steps=5, spend_all=True), engine=Engine(compiled=compiled))
    assert calls == {"compiled": 5, "module": 2}
    assert torch.equal(outcome.right, run(linear(), "pgd", Budget("linf", 0.01, steps=5, spend_all=True)).right)
