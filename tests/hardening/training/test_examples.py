"""The perturbed images of each base: where they end up, and that making them leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.attacks.budget import Budget
from lsa_audit.attacks.norms import inside
from lsa_audit.graph.training import TrainedGraph
from lsa_audit.hardening.training.base import TrainingBatch
from lsa_audit.hardening.training.bases import BASES
from lsa_audit.hardening.training.examples import Apgd, Free, Kl, Pgd
from lsa_audit.records import Norm
from lsa_audit.settings.recipe import Base, Recipe

from .networks import trainee

ATTACKS: list[Base] = ["fgsm", "pgd", "apgd", "trades", "mart"]
SHAPE = (2, 6, 6)
COUNT = 5


@pytest.fixture(scope="module")
def small() -> TrainedGraph:
    """A network whose running statistics are far from those of any batch."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ELU(), nn.Conv2d(8, 8, 3), nn.ELU(), nn.Flatten(), nn.Linear(32, 4)
    )
    network[1].running_mean.uniform_(-1, 1)  # type: ignore[operator, union-attr]
    network[1].running_var.uniform_(0.1, 3)  # type: ignore[operator, union-attr]
    return trainee(network, SHAPE)


class Linear(nn.Module):
    """Two classes; the logits are 0 and w x."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.out = nn.Linear(features, 2)
        with torch.no_grad():
            self.out.weight[0] = 0

    @property
    def weight(self) -> Tensor:
        return self.out.weight[1].detach()

    def forward(self, images: Tensor) -> Tensor:
        return self.out(images)


def batch_of(
    shape: tuple[int, ...], epsilon: float, classes: int, low: float = 0.0, high: float = 1.0
) -> TrainingBatch:
    generator = torch.Generator().manual_seed(1)
    images = low + (high - low) * torch.rand(COUNT, *shape, generator=generator)
    return TrainingBatch(images, torch.arange(COUNT) % classes, drawn(0), epsilon, 0.0)


def drawn(seed: int, first: int = 0) -> Callable[[str, tuple[int, ...]], Tensor]:
    """Numbers that depend on the purpose, and on the image by its place in the batch of `COUNT`."""

    def draw(purpose: str, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(seed + len(purpose))
        return torch.rand(COUNT, *shape[1:], generator=generator)[first : first + shape[0]]

    return draw


@pytest.mark.slow_except("mart")
@pytest.mark.parametrize("at", ["pgd", "apgd", "mart"])
def test_on_a_linear_model_the_worst_corner_is_reached(at: Base) -> None:
    torch.manual_seed(2)
    model = Linear(12)
    batch = batch_of((12,), 0.2, classes=2)
    perturbed = BASES[at](Recipe(at=at, epsilon=0.2, steps=8))[0].perturb(trainee(model, (12,)), batch)
    away = torch.where(batch.labels == 1, -1.0, 1.0)[:, None]
    worst = (batch.images + 0.2 * away * model.weight.sign()).clamp(0, 1)
    torch.testing.assert_close(perturbed, worst)


def test_on_a_linear_model_the_largest_divergence_is_at_one_of_two_corners() -> None:
    torch.manual_seed(2)
    model = Linear(12)
    batch = batch_of((12,), 0.2, classes=2)
    perturbed = Kl(Recipe(at="trades", epsilon=0.2)).perturb(trainee(model, (12,)), batch)
    corners = torch.stack([(batch.images + side * 0.2 * model.weight.sign()).clamp(0, 1) for side in (-1, 1)])
    assert (corners - perturbed).abs().flatten(2).amax(2).amin(0).max() < 1e-6


@pytest.mark.slow_except("pgd")
@pytest.mark.parametrize("at", ["pgd", "apgd"])
def test_on_a_linear_model_the_worst_point_of_the_sphere_is_reached(at: Base) -> None:
    torch.manual_seed(2)
    model = Linear(12)
    batch = batch_of((12,), 0.3, classes=2, low=0.4, high=0.6)
    perturbed = BASES[at](Recipe(at=at, norm="l2", epsilon=0.3, steps=60))[0].perturb(trainee(model, (12,)), batch)
    away = torch.where(batch.labels == 1, -1.0, 1.0)[:, None]
    torch.testing.assert_close(
        perturbed, batch.images + 0.3 * away * model.weight / model.weight.norm(), atol=1e-3, rtol=0
    )


@pytest.mark.slow_for("fgsm-1-linf")
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("at", "steps"), [("fgsm", 1), ("pgd", 7)])
def test_pgd_equals_a_slow_loop_over_the_images(small: TrainedGraph, at: Base, steps: int, norm: Norm) -> None:
    batch = batch_of(SHAPE, 0.05, classes=4)
    share = {"fgsm": 1.25, "pgd": 0.25}[at]
    perturbed = BASES[at](Recipe(at=at, norm=norm, epsilon=0.1))[0].perturb(small, batch)
    uniform = batch.draw("start", (COUNT, *SHAPE) if norm == "linf" else (COUNT, 1))
    direction = torch.special.ndtri(batch.draw("direction", (COUNT, *SHAPE)))
    for row, (image, label) in enumerate(zip(batch.images, batch.labels, strict=True)):
        delta = 0.05 * (2 * uniform[row] - 1)
        if norm == "l2":
            delta = direction[row] / direction[row].norm() * 0.05 * uniform[row] ** (1 / image.numel())
        current = (image + delta).clamp(0, 1)
        for _ in range(steps):
            leaf = current.detach().requires_grad_()
            loss = -small.module(leaf[None]).log_softmax(1)[0, label]
            gradient = torch.autograd.grad(loss, leaf)[0]
            unit = gradient.sign() if norm == "linf" else gradient / gradient.norm()
            delta = current + share * 0.05 * unit - image
            delta = delta.clamp(-0.05, 0.05) if norm == "linf" else delta * min(1.0, 0.05 / delta.norm().item())
            current = (image + delta).clamp(0, 1).detach()
        torch.testing.assert_close(perturbed[row], current, atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("at", get_args(Base))
def test_images_stay_in_the_ball_and_making_them_leaves_no_trace(small: TrainedGraph, at: Base, norm: Norm) -> None:
    batch = batch_of(SHAPE, 0.3, classes=4)
    before = {name: value.clone() for name, value in small.module.state_dict().items()}
    examples, _ = BASES[at](Recipe(at=at, norm=norm, epsilon=0.3))
    perturbed = examples.perturb(small, batch)
    if isinstance(examples, Free):
        examples.after(torch.randn(perturbed.shape, generator=torch.Generator().manual_seed(0)), batch)
        perturbed = examples.perturb(small, batch)
    assert inside(perturbed, batch.images, Budget(norm, 0.3)).all()
    assert torch.equal(perturbed, batch.images) == (at == "none")
    assert not perturbed.requires_grad
    assert not batch.images.requires_grad
    assert all(parameter.grad is None and parameter.requires_grad for parameter in small.parameters)
    for name, value in small.module.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("at", ATTACKS)
def test_the_draws_alone_decide(small: TrainedGraph, at: Base) -> None:
    batch = batch_of(SHAPE, 0.1, classes=4)
    examples, _ = BASES[at](Recipe(at=at, epsilon=0.1))
    first = examples.perturb(small, batch)
    other = TrainingBatch(batch.images, batch.labels, drawn(7), 0.1, 0.0)
    assert torch.equal(first, examples.perturb(small, batch))
    assert not torch.equal(first, examples.perturb(small, other))


@pytest.mark.parametrize("at", ATTACKS)
def test_the_rest_of_the_batch_does_not_matter(small: TrainedGraph, at: Base) -> None:
    batch = batch_of(SHAPE, 0.1, classes=4)
    examples, _ = BASES[at](Recipe(at=at, epsilon=0.1))
    part = TrainingBatch(batch.images[2:4], batch.labels[2:4], drawn(0, first=2), 0.1, 0.0)
    torch.testing.assert_close(examples.perturb(small, batch)[2:4], examples.perturb(small, part), atol=1e-5, rtol=0)


def test_apgd_gives_the_highest_loss_that_it_met(small: TrainedGraph) -> None:
    batch = batch_of(SHAPE, 0.2, classes=4)

    def losses(steps: int) -> Tensor:
        perturbed = Apgd(Recipe(at="apgd", epsilon=0.2, steps=steps)).perturb(small, batch)
        return nn.functional.cross_entropy(small.module(perturbed), batch.labels, reduction="none").detach()

    found = [losses(steps) for steps in (1, 3)]
    assert (found[1] > found[0] - 1e-6).all()
    assert found[1].mean() > found[0].mean()


def test_in_bf16_the_steps_are_still_taken_in_float32(small: TrainedGraph) -> None:
    batch = batch_of(SHAPE, 0.1, classes=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        perturbed = Pgd(Recipe(at="pgd", epsilon=0.1)).perturb(small, batch)
    exact = Pgd(Recipe(at="pgd", epsilon=0.1)).perturb(small, batch)
    assert perturbed.dtype == torch.float32
    assert (perturbed - exact).abs().mean() < 0.01


def test_two_replays_of_free_by_hand(small: TrainedGraph) -> None:
    images = torch.tensor([[0.5, 0.0], [0.9, 0.5]])
    batch = TrainingBatch(images, torch.tensor([0, 1]), drawn(0), 0.2, 0.0)
    free = Free(Recipe(at="free", epsilon=0.2, step_size=0.15, steps=2))
    assert free.replays == 2
    assert torch.equal(free.perturb(small, batch), images)
    free.after(torch.tensor([[3.0, -1.0], [2.0, 0.0]]), batch)
    torch.testing.assert_close(free.perturb(small, batch), torch.tensor([[0.65, 0.0], [1.0, 0.5]]))
    free.after(torch.tensor([[1.0, torch.nan], [-1.0, 0.1]]), batch)
    torch.testing.assert_close(free.perturb(small, batch), torch.tensor([[0.7, 0.0], [0.9, 0.65]]))
    # What [0, 1] cut off the one image was kept for the next; what the ball cut off was not.
    later = TrainingBatch(images + 0.1, batch.labels, batch.draw, 0.2, 0.0)
    torch.testing.assert_close(free.perturb(small, later)[0], torch.tensor([0.8, 0.0]))
    free.after(torch.tensor([[-1.0, 1.0], [0.0, 0.0]]), later)
    torch.testing.assert_close(free.perturb(small, later)[0], torch.tensor([0.65, 0.1]))


def test_free_keeps_what_a_smaller_batch_does_not_use(small: TrainedGraph) -> None:
    images = torch.full((2, 2), 0.5)
    batch = TrainingBatch(images, torch.tensor([0, 1]), drawn(0), 0.2, 0.0)
    part = TrainingBatch(images[:1], batch.labels[:1], batch.draw, 0.2, 0.0)
    free = Free(Recipe(at="free", epsilon=0.2, step_size=0.1))
    free.after(torch.ones(2, 2), batch)
    free.after(torch.ones(1, 2), part)
    other = Free(Recipe(at="free", epsilon=0.2, step_size=0.1))
    other.load(free.state())
    free.after(torch.ones(2, 2), batch)
    torch.testing.assert_close(other.perturb(small, batch), torch.tensor([[0.7, 0.7], [0.6, 0.6]]))


def test_free_in_l2_stays_on_the_sphere(small: TrainedGraph) -> None:
    batch = TrainingBatch(torch.full((1, 2), 0.5), torch.tensor([0]), drawn(0), 0.1, 0.0)
    free = Free(Recipe(at="free", norm="l2", epsilon=0.1))
    free.after(torch.tensor([[3.0, 4.0]]), batch)
    torch.testing.assert_close(free.perturb(small, batch), torch.tensor([[0.56, 0.58]]))
    free.after(torch.tensor([[-4.0, 3.0]]), batch)
    expected = torch.tensor([[-0.02, 0.14]]) * 0.1 / (0.02**2 + 0.14**2) ** 0.5
    torch.testing.assert_close(free.perturb(small, batch), 0.5 + expected)
