"""Names of layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.graph.naming import names, unique

from .networks import SharedWeights
from .walking import all_layers, structure_of


def names_of(network: nn.Module) -> list[str]:
    structure = structure_of(network)
    return names(structure, all_layers(structure))


class NormAct(nn.BatchNorm1d):
    """A norm that holds its activation, as timm's do."""

    def __init__(self) -> None:
        super().__init__(4)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class Holder(nn.Module):
    """Uses the weights of a child by itself, parameters of its own, and a parametrised layer."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 4)
        self.in_proj_weight = nn.Parameter(torch.rand(4, 4))
        self.table = nn.Parameter(torch.rand(4, 4))
        self.bn = NormAct()
        self.head = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.linear(x, self.qkv.weight)
        x = functional.linear(x, self.in_proj_weight) @ self.table
        return self.head(self.bn(x))


@pytest.mark.slow
def test_a_layer_is_named_by_its_module_or_its_parameter():
    assert names_of(Holder()) == ["qkv", "in_proj", "table", "bn", "bn.act", "head"]


@pytest.mark.slow
def test_tied_weights_are_named_by_who_calls_and_calls_are_counted():
    assert names_of(SharedWeights()) == ["same", "relu", "same_2", "relu_2", "one", "other"]


def test_a_network_that_is_one_layer_has_a_name():
    layer = nn.Linear(4, 2)
    layer.shape = (4,)
    assert names_of(layer) == ["linear"]


def test_a_block_whose_name_is_taken_ends_in_out():
    class Odd(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(functional.linear(self[0](x), self.weight))

        def __init__(self) -> None:
            super().__init__(nn.Linear(4, 4))
            self.weight = nn.Parameter(torch.rand(4, 4))

    network = nn.Sequential(Odd(), nn.Linear(4, 2))
    network.shape = (4,)
    assert names_of(network) == ["0.0", "0", "0.relu", "0.out", "1"]


class Graph(nn.Module):
    """Steps that know what a file calls them."""

    shape = (4,)
    layer_names = {"steps.a": "/first/Gemm", "steps.b": "/act", "steps.c": "/sum"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.ReLU(), "c": Both(), "d": nn.Linear(4, 2)})

    def forward(self, x: Tensor) -> Tensor:
        y = self.steps["b"](self.steps["a"](x))
        return self.steps["d"](self.steps["c"](x, y))


class Both(nn.Module):
    """A sum and two activations in one module."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return functional.relu(torch.tanh(x + y))


class Wrapped(nn.Module):
    """A network around one that knows names."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.network = Graph()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


@pytest.mark.slow_except("Wrapped-network.steps.d")
@pytest.mark.parametrize(("network", "last"), [(Graph, "steps.d"), (Wrapped, "network.steps.d")])
def test_a_network_may_name_its_layers(network, last):
    assert names_of(network()) == ["/first/Gemm", "/act", "/sum.add", "/sum.tanh", "/sum.relu", last]


def test_a_name_is_given_once():
    taken: set[str] = set()
    assert [unique("a", taken) for _ in range(3)] == ["a", "a_2", "a_3"]
    assert unique("a_2", taken) == "a_2_2"
