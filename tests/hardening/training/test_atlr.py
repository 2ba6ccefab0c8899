"""AT-LR: the penalty, its gradient where norms vanish, and the weights that it starts with."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.errors import UsageError
from lsa_audit.graph.training import TrainedGraph
from lsa_audit.hardening.training.atlr import Atlr, auto_gammas, relative_error
from lsa_audit.hardening.training.base import Nothing, TrainingBatch
from lsa_audit.hardening.training.lad import Lad
from lsa_audit.hardening.training.regularizers import REGULARIZERS
from lsa_audit.measurements import measures
from lsa_audit.settings.recipe import Recipe

from .networks import trainee

GENERATOR = torch.Generator().manual_seed(5)
CLEAN = torch.randn(6, 9, generator=GENERATOR)
MOVED = CLEAN + 0.1 * torch.randn(6, 9, generator=GENERATOR)


def test_the_penalty_equals_a_slow_loop() -> None:
    clean, moved = {"a": CLEAN, "b": 3 * CLEAN[:, :4]}, {"a": MOVED, "b": MOVED[:, :4]}
    expected = 0.0
    for name, gamma in (("a", 2.0), ("b", 0.5)):
        ratios = []
        for before, after in zip(clean[name].tolist(), moved[name].tolist(), strict=True):
            ratios.append(math.dist(before, after) / math.hypot(*before))
        expected += gamma * sum(ratios) / len(ratios)
    penalty = Atlr({"a": 2.0, "b": 0.5}).penalty(clean, moved)
    assert penalty is not None
    assert penalty.item() == pytest.approx(expected, rel=1e-6)


def test_it_is_the_relative_error_of_the_audit_also_where_that_is_undefined() -> None:
    clean, moved = CLEAN.clone(), MOVED.clone()
    clean[2] = 0.0
    audited = measures.relative_error(measures.pair(clean, moved[None]))[0]
    assert audited.isnan().tolist() == [False, False, True, False, False, False]
    assert relative_error(clean, moved).item() == pytest.approx(audited.nanmean().item(), rel=1e-6)


def test_the_gradient_flows_through_both_values() -> None:
    clean, moved = CLEAN.clone().requires_grad_(), MOVED.clone().requires_grad_()
    relative_error(clean, moved).backward()
    delta, size, moving = MOVED - CLEAN, CLEAN.norm(dim=1, keepdim=True), (MOVED - CLEAN).norm(dim=1, keepdim=True)
    by_moved = delta / moving / size / 6
    torch.testing.assert_close(moved.grad, by_moved)
    torch.testing.assert_close(clean.grad, -by_moved - moving * CLEAN / size**3 / 6)


def test_no_difference_has_gradient_zero() -> None:
    clean, moved = CLEAN.clone().requires_grad_(), CLEAN.clone().requires_grad_()
    error = relative_error(clean, moved)
    error.backward()
    assert error.item() == 0.0
    assert clean.grad is not None
    assert moved.grad is not None
    assert not clean.grad.any()
    assert not moved.grad.any()


@pytest.mark.parametrize("dead", [slice(0, 1), slice(0, 6)])
def test_images_without_clean_value_are_left_out_and_have_gradient_zero(dead: slice) -> None:
    clean, moved = CLEAN.clone(), MOVED.clone()
    clean[dead] = 0.0
    alive = torch.ones(6, dtype=torch.bool)
    alive[dead] = False
    expected = relative_error(clean[alive], moved[alive]).item() if alive.any() else 0.0
    clean.requires_grad_()
    moved.requires_grad_()
    error = relative_error(clean, moved)
    error.backward()
    assert error.item() == pytest.approx(expected, rel=1e-6)
    for gradient in (clean.grad, moved.grad):
        assert gradient is not None
        assert not gradient[dead].any()
        assert gradient.isfinite().all()
        assert gradient[alive].all()


def test_half_precision_is_summed_in_float32() -> None:
    clean, moved = CLEAN.bfloat16(), MOVED.bfloat16()
    assert relative_error(clean, moved).dtype == torch.float32
    assert relative_error(clean, moved) == relative_error(clean.float(), moved.float())


def test_gamma_zero_asks_for_nothing() -> None:
    idle = Atlr({"a": 0.0, "b": 0.0})
    assert idle.layers == ()
    assert idle.penalty({}, {}) is None
    assert Atlr({"a": 0.0, "b": 1.0, "c": 2.0}).layers == ("b", "c")


class Shift:
    """Examples that add 0.1, and note whether gradients are on."""

    distance = 0.1
    graded = False

    def perturb(self, trainee: TrainedGraph, batch: TrainingBatch) -> Tensor:
        self.graded = torch.is_grad_enabled()
        return batch.images + self.distance


class Entropy:
    """The mean cross-entropy on the perturbed images, and where asked that on the clean ones as well."""

    def __init__(self, needs_clean: bool = False) -> None:
        self.needs_clean = needs_clean

    def loss(self, perturbed: Tensor, clean: Tensor | None, labels: Tensor) -> Tensor:
        loss = functional.cross_entropy(perturbed, labels)
        return loss if clean is None else loss + functional.cross_entropy(clean, labels)


def network() -> TrainedGraph:
    torch.manual_seed(1)
    return trainee(
        nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), (4,)
    )


def batches(*sizes: int) -> list[TrainingBatch]:
    generator = torch.Generator().manual_seed(9)
    return [
        TrainingBatch(
            0.9 * torch.rand(size, 4, generator=generator),
            torch.arange(size) % 3,
            lambda _, shape: torch.zeros(shape),
            0.1,
            0.0,
        )
        for size in sizes
    ]


@pytest.mark.slow_except("False")
@pytest.mark.parametrize("needs_clean", [False, True])
def test_auto_weights_sum_to_half_of_the_base_loss_with_equal_shares(needs_clean: bool) -> None:
    subject, shift, objective, names = network(), Shift(), Entropy(needs_clean), ("2", "4")
    listed = batches(6, 2)
    before = {name: value.clone() for name, value in subject.module.state_dict().items()}
    gammas = auto_gammas(subject, shift, objective, listed, names)
    assert shift.graded
    assert all(torch.equal(value, before[name]) for name, value in subject.module.state_dict().items())
    assert all(parameter.grad is None for parameter in subject.parameters)

    images = torch.cat([batch.images for batch in listed])
    labels = torch.cat([batch.labels for batch in listed])
    clean, moved = subject.forward(images, layers=names), subject.forward(images + 0.1, layers=names)
    assert moved.logits is not None
    base = objective.loss(moved.logits, clean.logits if needs_clean else None, labels).item()
    guessing = math.log(moved.logits.shape[1])
    for name in names:
        alone = Atlr({name: gammas[name]}).penalty(clean.values, moved.values)
        assert alone is not None
        assert alone.item() == pytest.approx(0.25 * min(base, guessing), rel=1e-5)


def test_auto_weights_need_an_attack_that_moves_a_layer() -> None:
    still = Shift()
    still.distance = 0.0
    with pytest.raises(UsageError, match="moves no layer"):
        auto_gammas(network(), still, Entropy(), batches(4), ("2",))


def test_the_table_builds_each_regularizer() -> None:
    recipe, gammas = Recipe(), {"a": 0.5, "b": 0.0}
    built = {name: builder(recipe, gammas) for name, builder in REGULARIZERS.items()}
    assert built["atlr"].layers == ("a",)
    assert isinstance(built["none"], Nothing)
    assert isinstance(built["lad-lie"], Lad)
    assert isinstance(built["lad-strang"], Lad)
    assert built["lad-strang"].layers == ()
