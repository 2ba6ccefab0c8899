"""Attributes come back, and every forward starts from the same state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.models.attributes import copied, equal, restored
from lsa_audit.models.base import PixelModel, Preprocessing
from lsa_audit.models.pinning import Pin, changing, told
from lsa_audit.models.state import preserved


class Busy(nn.Module):
    """Keeps a count in a buffer that it puts another in the place of, a cache, a list inside a dictionary, a number."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("sum", torch.zeros(()))
        self.cache = torch.zeros(3)
        self.seen: dict[str, list[Tensor]] = {"a": [torch.zeros(1)]}
        self.table: dict[str, Tensor] = {}
        self.calls = 0
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.count = self.count + 1
        self.sum += 1
        self.cache += 1
        self.last = x.mean()
        self.seen["a"].append(x.detach())
        self.seen["a"][0].add_(1)
        self.table.setdefault("weights", self.linear.weight.detach() * 2)
        self.calls += 1
        return self.linear(x) + self.count * torch.tensor([0.0, 1.0])


@pytest.mark.parametrize("keeper", [preserved, restored])
def test_everything_that_a_forward_leaves_is_taken_away(keeper):
    module = Busy()
    buffers, seen, cache = dict(module._buffers), module.seen["a"], module.cache
    with keeper(module), torch.no_grad():
        module(torch.rand(2, 3))
        module(torch.rand(2, 3))
    assert module._buffers == buffers
    assert module.cache is cache
    assert cache.tolist() == [0, 0, 0]
    assert module.seen["a"] is seen
    assert [value.tolist() for value in seen] == [[0]]
    assert (module.calls, module.table, hasattr(module, "last")) == (0, {}, False)
    if keeper is preserved:
        assert (float(module.count), float(module.sum)) == (0, 0)


def test_an_exception_changes_nothing_about_it():
    module = Busy()
    with pytest.raises(RuntimeError), preserved(module):
        module(torch.rand(2, 4))
    assert (float(module.count), module.calls) == (0, 0)


def test_what_every_forward_changes_is_told_from_what_the_first_fills_in():
    module = Busy()
    pins = changing(module, module, torch.rand(2, 3))
    assert {str(pin) for pin in pins} == {"count", "sum", "cache", "seen", "calls", "last"}
    assert "every forward pass starts from the state as loaded" in told(pins)
    assert (module.calls, len(module.seen["a"])) == (0, 1)
    assert changing(nn.Linear(3, 2), nn.Linear(3, 2), torch.rand(2, 3)) == ()


def test_pinned_every_forward_is_the_first_one():
    network = Busy().eval()
    model = PixelModel(network, Preprocessing()).eval()
    images = torch.rand(2, 3)
    with preserved(model):
        expected = model(images)
    model.pins = changing(network, model, images)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.sum.zero_()
    assert all(torch.equal(model(images), expected) for _ in range(3))
    assert (float(network.count), network.calls, len(network.seen["a"])) == (0, 0, 1)
    model.train()
    model(images)
    assert network.calls == 1, "training goes on as the network wants it"


def test_copies_are_apart_and_equality_looks_inside():
    value = {"a": [torch.ones(2), (1, "x")], "b": {1, 2}}
    other = copied(value)
    assert equal(value, other)
    other["a"][0].add_(1)
    assert not equal(value, other)
    assert value["a"][0].tolist() == [1, 1]
    assert equal(torch.tensor([float("nan")]), torch.tensor([float("nan")]))
    assert not equal([1], [1, 2])
    assert not equal(object(), object())
    assert Pin("layer.0", False, "calls").__str__() == "layer.0.calls"
