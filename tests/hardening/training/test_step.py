"""The loss of one batch: what is in it, and that nothing is run twice."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from lsa_audit.graph.training import TrainedGraph
from lsa_audit.hardening.training.atlr import Atlr, relative_error
from lsa_audit.hardening.training.base import Nothing
from lsa_audit.hardening.training.bases import BASES
from lsa_audit.hardening.training.step import TrainingStep
from lsa_audit.settings.recipe import Recipe

from .trainings import dataset, network, setup


class Watched(TrainedGraph):
    """Keeps what it was asked for."""

    def __init__(self, graph, module):
        super().__init__(graph, module)
        self.asked = []

    def forward(self, images, **wanted):
        self.asked.append((images, wanted["training"], tuple(wanted["layers"]), wanted.get("logits", True)))
        return super().forward(images, **wanted)


@pytest.fixture
def parts():
    made = setup({}, own=network(norm=False, dropout=0.0))
    data = dataset(12, seed=4)
    images = data.images(0, 12)
    moved = (images + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    return Watched(made.graph, made.model.module), images, moved, data.labels


def objective(name):
    return BASES[name](Recipe(at=name))[1]


def test_plain_training_is_one_forward(parts):
    trainee, images, moved, labels = parts
    loss = TrainingStep(trainee, objective("pgd"), Nothing(), True)(images, moved, labels, {})
    logits = trainee.module(moved)
    torch.testing.assert_close(loss.total, functional.cross_entropy(logits, labels))
    assert loss.penalty is None
    assert int(loss.right) == int((logits.argmax(1) == labels).sum())
    assert trainee.asked == [(moved, True, (), True)]


@pytest.mark.slow_except("False")
@pytest.mark.parametrize("clean_training", [True, False])
def test_atlr_adds_its_penalty_from_a_clean_forward_without_logits(parts, clean_training):
    trainee, images, moved, labels = parts
    loss = TrainingStep(trainee, objective("pgd"), Atlr({"conv1": 0.5}), clean_training)(images, moved, labels, {})
    conv = trainee.module.network.conv1
    clean, other = (conv(trainee.module.prepare(entry)).flatten(1) for entry in (images, moved))
    penalty = 0.5 * relative_error(clean, other)
    torch.testing.assert_close(loss.penalty, penalty.detach())
    torch.testing.assert_close(loss.total, functional.cross_entropy(trainee.module(moved), labels) + penalty)
    assert not loss.penalty.requires_grad
    assert [entry[1:] for entry in trainee.asked] == [(True, ("conv1",), True), (clean_training, ("conv1",), False)]


@pytest.mark.slow
def test_trades_and_atlr_share_the_clean_forward(parts):
    trainee, images, moved, labels = parts
    loss = TrainingStep(trainee, objective("trades"), Atlr({"conv1": 0.5}), True)(images, moved, labels, {})
    assert len(trainee.asked) == 2
    logits, clean = trainee.module(moved), trainee.module(images)
    divergence = (clean.softmax(1) * (clean.log_softmax(1) - logits.log_softmax(1))).sum(1).mean()
    expected = functional.cross_entropy(clean, labels) + 6 * divergence + loss.penalty
    torch.testing.assert_close(loss.total, expected)


def test_what_moves_a_layer_moves_the_loss_on_perturbed_images_alone(parts):
    trainee, images, moved, labels = parts
    step = TrainingStep(trainee, objective("trades"), Nothing(), True)
    plain = step(images, moved, labels, {})
    shifted = step(images, moved, labels, {"conv2": lambda value: value * 0})
    network = trainee.module.network
    dead = network.head(torch.zeros(12, 96)).log_softmax(1)
    clean = trainee.module(images).log_softmax(1)
    divergence = (clean.exp() * (clean - dead)).sum(1).mean()
    torch.testing.assert_close(shifted.total, functional.nll_loss(clean, labels) + 6 * divergence)
    assert not torch.equal(plain.total, shifted.total)


def test_the_weights_are_found_in_it(parts):
    trainee, *_ = parts
    step = TrainingStep(trainee, objective("pgd"), Nothing(), True)
    assert {id(value) for value in step.parameters()} == {id(value) for value in trainee.module.parameters()}
