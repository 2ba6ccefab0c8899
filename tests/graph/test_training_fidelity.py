"""The module itself is trained where a step of its exported graph would be another one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lsa_audit.graph.taps import run
from lsa_audit.graph.training import TrainedGraph
from lsa_audit.graph.training_fidelity import choose_trainee, without_momentum
from lsa_audit.graph.walker import walk

from .networks import model_of
from .test_fidelity import StraightThrough, slowly


class Normed(nn.Module):
    shape = (1, 6, 6)
    momentum: float | None = 0.1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3)
        self.bn = nn.BatchNorm2d(4, momentum=self.momentum)
        self.fc = nn.Linear(64, 3)

    def features(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).flatten(1))


class Quantised(Normed):
    def features(self, x: Tensor) -> Tensor:
        return StraightThrough.apply(super().features(x))


class Cumulative(Normed):
    momentum = None


class FrozenFirst(Normed):
    def features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().features(x)


class Dropping(Normed):
    def features(self, x: Tensor) -> Tensor:
        return functional.dropout(super().features(x), 0.5, self.training)


class Side(Normed):
    """A custom backward on weights alone: no gradient by the images shows it."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.features(x).flatten(1), StraightThrough.apply(self.fc.weight))


class Auxiliary(Normed):
    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class Checkpointed(Normed):
    def features(self, x: Tensor) -> Tensor:
        return functional.dropout(checkpoint(super().features, x, use_reentrant=False), 0.2, self.training)


def chosen(kind, batch_norm="train"):
    network = kind().eval()
    model = model_of(network)
    images = torch.rand((8, 1, 6, 6), generator=torch.Generator().manual_seed(1))
    graph = walk(model, images[:3])
    return model, images, choose_trainee(model, graph, images, batch_norm)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Quantised, "custom backward"),
        slowly(Side, "custom backward"),
        (Cumulative, "other statistics"),
        slowly(FrozenFirst, "no gradient by the images"),
        (Dropping, "training mode"),
    ],
)
def test_the_module_is_trained_where_its_graph_would_learn_otherwise(kind, reason):
    _, _, found = chosen(kind)
    assert found.own
    assert reason in found.reason
    idle = {FrozenFirst: ("conv.weight", "conv.bias", "bn.weight", "bn.bias"), Side: ("fc.bias",)}
    assert found.idle == idle.get(kind, ())


def test_a_graph_that_learns_the_same_is_trained_and_nothing_is_left_behind():
    network = Normed().eval()
    model = model_of(network)
    before = copy.deepcopy(network.state_dict())
    flags = [parameter.requires_grad for parameter in network.parameters()]
    images = torch.rand((8, 1, 6, 6))
    found = choose_trainee(model, walk(model, images[:3]), images, "train")
    assert (found.own, found.reason, found.idle) == (False, "", ())
    assert [check.what for check in found.checks] == ["training logits", "parameter gradients", "batch statistics"]
    assert all(check.passed and check.difference <= 1e-6 for check in found.checks)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [parameter.requires_grad for parameter in network.parameters()] == flags
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module.training for module in network.modules())


@pytest.mark.slow
def test_frozen_batch_norms_do_not_count():
    assert not chosen(Cumulative, "frozen")[2].own


@pytest.mark.slow
def test_a_forward_for_training_that_returns_something_else_leaves_the_graph_and_says_so():
    found = chosen(Auxiliary)[2]
    assert not found.own
    assert "fails in training mode" in found.reason


@pytest.mark.parametrize("kind", [Quantised, slowly(Side), slowly(Cumulative), FrozenFirst, slowly(Checkpointed)])
def test_a_step_is_that_of_plain_torch(kind):
    model, images, found = chosen(kind)
    plain = copy.deepcopy(model.module).train()
    trainee = TrainedGraph(found.graph, model.module)
    model.module.requires_grad_(True)
    for module, forward in ((plain, plain), (model.module, lambda batch: trainee.forward(batch, training=True).answer)):
        torch.manual_seed(3)
        torch.autograd.backward(forward(images).square().sum())
        trainee.logits(images) if module is model.module else None
    pairs = zip(plain.named_parameters(), model.module.named_parameters(), strict=True)
    for (name, expected), (_, parameter) in pairs:
        assert (expected.grad is None) == (parameter.grad is None), name
        assert expected.grad is None or torch.allclose(parameter.grad, expected.grad, rtol=1e-4, atol=1e-6), name
    for (name, expected), (_, buffer) in zip(plain.named_buffers(), model.module.named_buffers(), strict=True):
        assert torch.allclose(buffer.float(), expected.float(), atol=1e-6), name


def test_a_value_that_is_wanted_is_not_changed_by_a_module_in_place():
    class InPlace(Dropping):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU(inplace=True)

        def features(self, x: Tensor) -> Tensor:
            return functional.dropout(self.act(self.bn(self.conv(x))), 0.5, self.training)

    model, images, found = chosen(InPlace)
    assert found.own
    seen = TrainedGraph(found.graph, model.module).forward(images, layers=("bn",)).values["bn"]
    values: list[Tensor] = []
    with torch.no_grad():
        run(found.graph, images, {"bn": lambda value: values.append(value.clone())})
    assert seen.min() < 0
    assert torch.equal(seen, values[0].flatten(1))


@pytest.mark.slow
def test_a_batch_norm_without_momentum_in_a_graph_is_named():
    network = Cumulative().eval()
    graph = walk(model_of(network), torch.rand(3, 1, 6, 6))
    assert without_momentum(graph) == "bn"
    plain = Normed().eval()
    assert without_momentum(walk(model_of(plain), torch.rand(3, 1, 6, 6))) == ""
