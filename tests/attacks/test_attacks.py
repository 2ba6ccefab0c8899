"""The contract of every attack, by one table; the closed-form optimum of linear models."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lsa_audit.attacks import ATTACKS
from lsa_audit.attacks.base import Batch, Engine, Outcome, judge
from lsa_audit.attacks.budget import Budget
from lsa_audit.attacks.functions import FUNCTIONS
from lsa_audit.attacks.norms import inside

from ..thinning import thin
from .linear import LinearCase, linear_case

SHAPES = [(6,), (5, 5), (3, 4, 4)]
# Cascade runs the members of autoattack in the same way and takes a fraction of the time; see test_ensemble.py.
NAMES = sorted(set(ATTACKS) - {"autoattack"})
GRADIENT_ATTACKS = [
    name for name in NAMES if ATTACKS[name].kind == "attack" and ATTACKS[name].gradients and not ATTACKS[name].layer
]


def norms_of(names: list[str]) -> list[tuple[str, str]]:
    return [(name, norm) for name in names for norm in ATTACKS[name].norms]


def budget_of(name: str, norm: str, epsilon: float, **changes: object) -> Budget:
    steps = 600 if name == "cascade" else 50 if ATTACKS[name].iterative else 1
    return Budget(norm, epsilon, **{"steps": steps, **changes})


def attack(name: str, case: LinearCase, budget: Budget, seed: int = 0, part: slice = slice(None)) -> Outcome:
    ids = tuple(str(index) for index in range(len(case.images)))[part]
    batch = Batch(case.images[part], case.labels[part], ids)
    return judge(
        case.module,
        FUNCTIONS[name],
        batch,
        budget,
        seed=seed,
        gradients=ATTACKS[name].gradients,
        engine=engine_of(name, case.module),
    )


def engine_of(name: str, module: nn.Module) -> Engine | None:
    """A layer attack moves the logits here."""
    if not ATTACKS[name].layer:
        return None

    def view(images: Tensor) -> tuple[Tensor, Tensor]:
        logits = module(images)
        return logits, logits

    return Engine(view=view)


def test_catalogue_and_functions_hold_the_same_names():
    assert list(ATTACKS) == list(FUNCTIONS)


@pytest.mark.slow_for("cw-l2-l2-False", "cascade-l2-False", "fab-t-l1-True", "fab-t-l2-False", "apgd-t-l2-True")
@pytest.mark.parametrize(
    ("name", "norm", "spend_all"),
    thin([(*pair, spend_all) for pair in norms_of(NAMES) for spend_all in (True, False)], together=2),
)
def test_images_stay_in_the_ball_and_in_the_pixel_range(name, norm, spend_all):
    case = linear_case((3, 4, 4), 4, 9, seed=3, scale=0.4)
    case.images.clamp_(0, 1)
    budget = budget_of(name, norm, 0.3, spend_all=spend_all)
    outcome = attack(name, case, budget)
    for images in (outcome.final, outcome.adversarial):
        assert inside(images, case.images, budget).all()
        assert (images - case.images).abs().max() > 0


@pytest.mark.slow_for("fab-t-l1", "square-l2")
@pytest.mark.parametrize(("name", "norm"), norms_of(NAMES))
def test_same_seed_same_bits_and_another_seed_another_draw(name, norm):
    case = linear_case((3, 4, 4), 4, 8, seed=5)
    budget = budget_of(name, norm, 0.05, restarts=2 if ATTACKS[name].iterative else 1)
    first, again, other = (attack(name, case, budget, seed) for seed in (1, 1, 2))
    assert torch.equal(first.final, again.final)
    assert torch.equal(first.adversarial, again.adversarial)
    if name not in ("fgsm", "fab-t", "deepfool", "cw-l2", "ddn"):
        assert not torch.equal(first.final, other.final)


@pytest.mark.slow_for("cw-l2", "fab-t", "apgd-dlr", "ddn", "apgd-t")
@pytest.mark.parametrize("name", NAMES)
def test_an_image_gets_the_same_answer_in_any_batch(name):
    case = linear_case((1, 5, 5), 3, 8, seed=6)
    budget = budget_of(name, ATTACKS[name].norms[0], 0.05, spend_all=True)
    whole = attack(name, case, budget)
    parts = [attack(name, case, budget, part=slice(start, start + 3)) for start in range(0, 8, 3)]
    assert torch.allclose(torch.cat([part.final for part in parts]), whole.final, atol=1e-6)
    assert torch.equal(torch.cat([part.right for part in parts]), whole.right)


@pytest.mark.slow_for(
    "cw-l2-l2-shape77-8",
    "cascade-linf-shape55-3",
    "fab-t-l2-shape124-3",
    "fab-t-l1-shape130-3",
    "apgd-dlr-l2-shape35-8",
    "cascade-l2-shape66-1",
    "apgd-t-l2-shape52-3",
    "pgd-linf-shape157-3",
    "apgd-ce-l2-shape10-3",
)
@pytest.mark.parametrize(
    ("name", "norm", "shape", "count"),
    thin([(*pair, shape, n) for pair in norms_of(GRADIENT_ATTACKS) for shape in SHAPES for n in (1, 3, 8)], together=2),
)
def test_two_classes_fall_just_above_the_optimum_and_stand_just_below(name, norm, shape, count):
    case = linear_case(shape, 2, count, seed=11 + count)
    optimum = case.optimum(norm)
    for index in range(count):
        for factor, right in ((1.01, False), (0.99, True)):
            epsilon = factor * float(optimum[index])
            outcome = attack(name, case, budget_of(name, norm, epsilon), part=slice(index, index + 1))
            assert bool(outcome.right[0]) is right, f"image {index} at {factor} times its optimum"
    epsilon = 1.01 * float(optimum.median())
    together = attack(name, case, budget_of(name, norm, epsilon))
    clear = (optimum / epsilon - 1).abs() > 0.009
    assert torch.equal(together.right[clear], (optimum > epsilon)[clear])


@pytest.mark.slow_for("apgd-ce-l2")
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["pgd", "apgd-ce"])
def test_no_verdict_below_the_optimum_with_several_classes(name, norm):
    case = linear_case((3, 4, 4), 6, 12, seed=2)
    optimum = case.optimum(norm)
    epsilon = float(optimum.median())
    outcome = attack(name, case, budget_of(name, norm, epsilon, restarts=3))
    assert outcome.right[optimum > 1.01 * epsilon].all()
    # The cross-entropy goes for the likeliest class, which need not be the nearest; most near images fall all the same.
    near = optimum < epsilon / 1.25
    assert (~outcome.right[near]).float().mean() >= 0.6


@pytest.mark.slow_except("indices0-apgd-t-linf")
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["apgd-t", "fab-t"])
@pytest.mark.parametrize("indices", [(0, 5, 10), pytest.param(range(12), marks=pytest.mark.slow)])
def test_towards_every_class_the_optimum_is_found_with_several_classes(name, norm, indices):
    case = linear_case((3, 4, 4), 6, 12, seed=2)
    optimum = case.optimum(norm)
    for index in indices:
        # Below the optimum also by the millionth that the judge forgives for rounding: one image is almost that close.
        for factor, slack, right in ((1.01, 0.0, False), (0.99, 2e-6, True)):
            budget = budget_of(name, norm, max(factor * float(optimum[index]) - slack, 0.0))
            assert bool(attack(name, case, budget, part=slice(index, index + 1)).right[0]) is right


@pytest.mark.parametrize("epsilon", [0.01, 0.05])
def test_a_layer_attack_pushes_a_linear_layer_as_far_as_the_ball_allows(epsilon):
    case = linear_case((3, 4, 4), 3, 5, seed=4)
    weight = case.module[-1].weight[0].detach()

    def activation(images: Tensor) -> Tensor:
        return images.flatten(1) @ weight[:, None] + 1.0

    batch = Batch(case.images, case.labels, tuple("abcde"))
    engine = Engine(view=lambda images: (case.module(images), activation(images)))
    budget = Budget("linf", epsilon, steps=20, spend_all=True)
    outcome = judge(case.module, FUNCTIONS["layer-pgd"], batch, budget, seed=0, engine=engine)
    moved = (activation(outcome.final) - activation(case.images)).abs().flatten()
    assert torch.allclose(moved, torch.full_like(moved, epsilon * float(weight.abs().sum())), rtol=1e-4)


def test_a_layer_attack_without_a_layer_is_a_mistake_of_the_caller():
    case = linear_case((2,), 2, 1, seed=0)
    with pytest.raises(ValueError, match="no layer is viewed"):
        judge(case.module, FUNCTIONS["layer-pgd"], Batch(case.images, case.labels, ("a",)), Budget("linf", 0.1), seed=0)


def test_fgsm_equals_one_step_by_hand():
    case = linear_case((2,), 2, 1, seed=0)
    weight = case.module[-1].weight.detach()
    label = int(case.labels[0])
    expected = case.images[0] + 0.1 * (weight[1 - label] - weight[label]).sign()
    outcome = attack("fgsm", case, Budget("linf", 0.1))
    assert torch.allclose(outcome.final[0], expected.clamp(0, 1))


class Recorder(nn.Module):
    """Answers like the network inside and can be told to raise at a given call."""

    def __init__(self, network: nn.Module, raise_at: int = -1) -> None:
        super().__init__()
        self.network = network
        self.norm = nn.BatchNorm1d(4)
        self.calls = 0
        self.raise_at = raise_at

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.raise_at:
            raise RuntimeError("asked to fail")
        return self.norm(self.network(images)) + 0 * torch.rand(1)


def snapshot(module: nn.Module) -> list[object]:
    return [
        [child.training for child in module.modules()],
        [(parameter.requires_grad, parameter.grad) for parameter in module.parameters()],
        [buffer.tolist() for buffer in module.buffers()],
        [len(child._forward_hooks) + len(child._backward_hooks) for child in module.modules()],
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
    ]


@pytest.mark.parametrize("raise_at", [-1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_model_and_the_generators_are_left_as_they_were(name, raise_at):
    case = linear_case((3, 4, 4), 4, 6, seed=1)
    module = Recorder(case.module, 1 if raise_at > 0 and ATTACKS[name].steps < 1 else raise_at)
    module.train()
    module.network.eval()
    module.norm.weight.requires_grad_(False)
    before = snapshot(module)
    batch = Batch(case.images, case.labels, tuple("abcdef"))
    budget = budget_of(name, ATTACKS[name].norms[0], 0.1)
    engine = engine_of(name, module)
    if raise_at > 0:
        with pytest.raises(RuntimeError, match="asked to fail"):
            judge(module, FUNCTIONS[name], batch, budget, seed=0, engine=engine)
    else:
        judge(module, FUNCTIONS[name], batch, budget, seed=0, engine=engine)
    assert snapshot(module) == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_gets_the_same_verdicts(mode):
    case = linear_case((3, 4, 4), 4, 6, seed=8)
    plain = attack("pgd", case, budget_of("pgd", "linf", 0.05))
    with mode():
        copied = LinearCase(case.module, case.images.clone(), case.labels.clone())
        wrapped = attack("pgd", copied, budget_of("pgd", "linf", 0.05))
    assert torch.equal(plain.final, wrapped.final)
