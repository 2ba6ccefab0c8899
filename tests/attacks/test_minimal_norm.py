"""Minimal-norm attacks against the closed-form optimum of linear models, and on the built-in model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.attacks import cw, ddn, deepfool, fab
from lsa_audit.attacks.base import Attack, Batch, Outcome, judge
from lsa_audit.attacks.budget import Budget
from lsa_audit.attacks.hyperplane import shortest
from lsa_audit.attacks.norms import inside, lengths
from lsa_audit.data.builtin import digits_split
from lsa_audit.models import ModelRequest, load
from lsa_audit.records import Norm

from ..thinning import thin
from .linear import LinearCase, linear_case

SHAPES = [(6,), (5, 5), (3, 4, 4)]
TABLE: list[tuple[str, Attack, Norm, int]] = [
    ("deepfool", deepfool.run, "linf", 50),
    ("deepfool", deepfool.run, "l2", 50),
    ("ddn", ddn.run, "l2", 50),
    ("cw-l2", cw.run, "l2", 20),
    ("fab-t", fab.run, "linf", 50),
    ("fab-t", fab.run, "l2", 50),
]
OWN = [pytest.param(run, norm, steps, id=f"{name}-{norm}") for name, run, norm, steps in TABLE if name != "fab-t"]


def wide(norm: Norm, images: Tensor, steps: int) -> Budget:
    return Budget(norm, 1.0 if norm == "linf" else math.sqrt(images[0].numel()), steps=steps, nearest=True)


def attacked(run: Attack, module: nn.Module, images: Tensor, labels: Tensor, budget: Budget) -> Outcome:
    return judge(module, run, Batch(images, labels, tuple(str(index) for index in range(len(images)))), budget, seed=0)


def nearest(run: Attack, case: LinearCase, norm: Norm, steps: int) -> Outcome:
    return attacked(run, case.module, case.images, case.labels, wide(norm, case.images, steps))


@pytest.mark.slow_for("cw-l2-run-l2-20-shape65-6-8")
@pytest.mark.parametrize(
    ("name", "run", "norm", "steps", "shape", "classes", "count"),
    thin([(*row, shape, k, n) for row in TABLE for shape in SHAPES for k in (2, 6) for n in (1, 3, 8)], together=4),
)
def test_the_distance_is_the_optimum(name, run, norm, steps, shape, classes, count):
    case = linear_case(shape, classes, count, seed=20 + count, scale=0.1)
    distance, optimum = nearest(run, case, norm, steps).distance, case.optimum(norm)
    # The logits are rounded, which counts where an image lies on the boundary nearly.
    assert (distance >= 0.999 * optimum - 1e-6).all()
    assert (distance <= 1.05 * optimum + 1e-6).all()


@pytest.mark.slow_except("deepfool-run-linf-50-shape1", "deepfool-run-l2-50-shape4")
@pytest.mark.parametrize(
    ("name", "run", "norm", "steps", "shape"),
    thin([(*row, shape) for row in TABLE for shape in SHAPES], together=4),
)
def test_a_ball_just_above_the_optimum_is_enough_and_one_below_is_not(name, run, norm, steps, shape):
    case = linear_case(shape, 2, 3, seed=4, scale=0.1)
    for image, label, optimum in zip(case.images, case.labels, case.optimum(norm).tolist(), strict=True):
        for factor, right in ((1.01, False), (0.99, True)):
            budget = Budget(norm, factor * optimum, steps=steps)
            outcome = attacked(run, case.module, image[None], label[None], budget)
            assert bool(outcome.right[0]) is right
            assert inside(outcome.final, image[None], budget).all()


@pytest.mark.parametrize(("run", "norm", "steps"), OWN)
def test_what_fell_inside_the_ball_is_left_alone_unless_the_nearest_is_wanted(run, norm, steps):
    case = linear_case((3, 4, 4), 4, 8, seed=7)
    plain = attacked(run, case.module, case.images, case.labels, Budget(norm, 0.5, steps=steps))
    full = nearest(run, case, norm, steps)
    assert not plain.right.any()
    # The likeliest classes, the clean image, one or two steps, the judge.
    assert plain.forwards <= 5 * len(case.images)
    assert plain.forwards < full.forwards
    assert (full.distance < plain.distance).all()


@pytest.mark.slow_for("cw-l2-l2-shape0", "cw-l2-l2-shape1")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("run", "norm", "steps"), OWN)
def test_the_range_of_pixels_counts_in_the_distance(run, norm, steps, shape):
    case = linear_case(shape, 2, 8, seed=9, scale=0.6)
    images = case.images.clamp(0, 1)
    assert ((images == 0) | (images == 1)).any()
    with torch.no_grad():
        logits = case.module(images)
    labels = logits.argmax(1)
    normals = case.module[-1].weight.detach()[1 - labels] - case.module[-1].weight.detach()[labels]
    margins = (logits[:, 1] - logits[:, 0]).abs()
    change = shortest(images.flatten(1), normals, margins, norm)
    reached = ((normals * change).sum(1) - margins).abs() < 1e-4 * margins
    assert reached.sum() >= 4
    outcome = attacked(run, case.module, images, labels, wide(norm, images, steps))
    ratio = (outcome.distance / lengths(change, norm).flatten())[reached]
    assert (ratio >= 0.999).all()
    assert (ratio <= 1.05).all()
    for seen in (outcome.final, outcome.adversarial):
        assert seen.min() >= 0
        assert seen.max() <= 1


@pytest.mark.slow_except("deepfool-linf", "deepfool-l2")
@pytest.mark.parametrize(("run", "norm", "steps"), OWN)
def test_an_image_gets_the_same_answer_in_any_batch(run, norm, steps):
    case = linear_case((1, 5, 5), 4, 8, seed=6, scale=0.1)
    whole = nearest(run, case, norm, steps)
    budget = wide(norm, case.images, steps)
    for size in (1, 3):
        parts = [
            attacked(run, case.module, case.images[part], case.labels[part], budget)
            for part in (slice(start, start + size) for start in range(0, 8, size))
        ]
        assert torch.allclose(torch.cat([part.distance for part in parts]), whole.distance, rtol=1e-4)
        assert torch.allclose(torch.cat([part.adversarial for part in parts]), whole.adversarial, atol=1e-5)


class Deaf(nn.Module):
    """Answers like the network inside and passes no gradient; or a constant."""

    def __init__(self, network: nn.Module, *, constant: bool) -> None:
        super().__init__()
        self.network = network
        self.constant = constant

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images.detach())
        return 0 * self.network(images) + torch.eye(logits.shape[1])[0] if self.constant else logits


@pytest.mark.slow_for("cw-l2-l2-True", "ddn-l2-True", "deepfool-linf-True")
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("run", "norm", "steps"), OWN)
def test_without_gradients_there_is_neither_nan_nor_success(run, norm, steps, constant):
    case = linear_case((3, 4, 4), 4, 6, seed=3, scale=0.3)
    images = case.images.clamp(0, 1)
    module = Deaf(case.module, constant=constant)
    with torch.no_grad():
        labels = module(images).argmax(1)
    outcome = attacked(run, module, images, labels, wide(norm, images, steps))
    assert outcome.right.all()
    assert outcome.zero_gradient.all()
    assert not outcome.nonfinite_gradient.any()
    assert outcome.distance.isinf().all()
    assert torch.allclose(outcome.final, images, atol=0.05)


@pytest.mark.slow_except("ddn")
@pytest.mark.parametrize(("module", "steps"), [(ddn, 300), (cw, 300)], ids=["ddn", "cw-l2"])
def test_the_published_search_reaches_the_optimum_from_the_clean_image(monkeypatch, module, steps):
    def none_found(target, rows):
        return target.images[rows], torch.zeros_like(rows, dtype=torch.bool)

    monkeypatch.setattr(module, "walk", none_found)
    case = linear_case((3, 4, 4), 2, 8, seed=20, scale=0.1)
    ratio = nearest(module.run, case, "l2", steps).distance / case.optimum("l2")
    assert (ratio >= 0.999).all()
    assert (ratio <= 1.02).all()


@pytest.mark.slow
def test_the_l2_searches_get_nearer_than_deepfool_on_a_curved_model():
    split = digits_split()
    images, labels = split.test_images[:40], split.test_labels[:40]
    module = load(ModelRequest("digits-cnn")).module
    median = {
        name: attacked(run, module, images, labels, wide("l2", images, steps)).distance.median()
        for name, run, steps in (("deepfool", deepfool.run, 50), ("ddn", ddn.run, 50), ("cw-l2", cw.run, 30))
    }
    assert median["deepfool"].isfinite()
    for name in ("ddn", "cw-l2"):
        assert median[name] < 0.99 * median["deepfool"]
