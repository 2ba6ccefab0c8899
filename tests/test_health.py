"""What the outputs of a model say about attacks on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit import health
from lsa_audit.attacks.base import Batch

from .attacks.linear import linear_case


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda logits: logits, "logits"),
        (lambda logits: logits.softmax(1), "probabilities"),
        (lambda logits: logits.log_softmax(1), "log-probabilities"),
        (lambda logits: logits.abs(), "logits"),
        (lambda logits: -logits.abs(), "logits"),
        (torch.sigmoid, "logits"),
    ],
)
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_kinds_of_output(change, kind, classes):
    logits = 4 * torch.randn(50, classes, generator=torch.Generator().manual_seed(0))
    assert health.outputs_are(change(logits)) == kind


def test_saturated_images_have_a_softmax_of_one():
    logits = torch.tensor([[0.0, 10.0], [0.0, 40.0], [500.0, -3.0]])
    assert health.saturated(logits).tolist() == [False, True, True]


def test_two_forwards_of_a_random_model_differ():
    images = torch.rand(4, 3, 8, 8)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    assert health.repeat_difference(plain, images) == 0
    assert health.repeat_difference(nn.Sequential(nn.Dropout(0.5), *plain).train(), images) > 0.01


def test_layers_that_stay_in_training_mode_are_named():
    module = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4, 2)).eval()
    assert health.training_layers(module) == ()
    module[1].train()
    assert health.training_layers(module) == ("1",)


class Saturated(nn.Module):
    """Logits so far apart that the cross-entropy has no gradient; nothing else is wrong."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return 1e5 * self.network(images)


class Rounded(Saturated):
    """No gradient at all."""

    def forward(self, images: Tensor) -> Tensor:
        return self.network(torch.round(images * 4) / 4)


class Constant(Saturated):
    """Always the same answer: no perturbation can change it."""

    def forward(self, images: Tensor) -> Tensor:
        return functional.one_hot(torch.zeros(len(images)).long(), 4).float() + 0 * images.flatten(1)[:, :4]


@pytest.mark.parametrize(
    ("wrapper", "share"), [(nn.Sequential, 1.0), (Saturated, 1.0), (Rounded, 0.9), (Constant, 0.0)]
)
def test_an_unbounded_attack_reaches_every_image_of_a_model_that_can_be_attacked(wrapper, share):
    case = linear_case((3, 4, 4), 4, 20, seed=0)
    module = wrapper(case.module).eval()
    labels = module(case.images).argmax(1)
    batch = Batch(case.images, labels, tuple(str(index) for index in range(20)))
    trial = health.unbounded(module, [batch], seed=0)
    assert trial.images == 20
    assert trial.fooled == 20 if share == 1 else trial.fooled <= share * 20


def test_nothing_withstood_nothing_to_try():
    case = linear_case((2,), 2, 2, seed=0)
    assert health.unbounded(case.module, [], seed=0).images == 0
