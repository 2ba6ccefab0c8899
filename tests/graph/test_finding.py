"""Which nodes are layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.graph.flops import flops
from lsa_audit.graph.neurons import neuron_dims
from lsa_audit.graph.operations import KINDS, MATRIX_PRODUCTS, REDUCTIONS, SOFTMAX, SUMS

from .networks import Residual
from .walking import all_layers, structure_of


class Body(nn.Module):
    shape = (4, 6, 6)

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.function = function
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.function(self.conv(x))
        return self.fc(x.flatten(2).sum(2))


def kinds_between(function: Callable[[Tensor], Tensor] | nn.Module) -> list[tuple[str, str]]:
    layers = [(layer.kind, layer.op) for layer in all_layers(structure_of(Body(function)))]
    assert layers[0] == ("learnable", "conv2d")
    assert layers[-1] == ("learnable", "linear")
    return layers[1:-1]


class HandWrittenGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.044 * x.pow(3))))


class HandWrittenNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale / (x.pow(2).mean((2, 3), keepdim=True) + 1).sqrt()


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def squeeze(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


@pytest.mark.slow_except("<lambda>-expected10", "<lambda>-expected15")
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (functional.relu, [("activation", "relu")]),
        (functional.normalize, []),
        (functional.relu6, [("activation", "relu6")]),
        (squeeze, [("pool", "mean"), ("activation", "sigmoid")]),
        (HandWrittenGelu(), [("activation", "tanh")]),
        (HandWrittenNorm(), [("norm", "HandWrittenNorm")]),
        (ChannelsLast(), [("norm", "layer_norm")]),
        (lambda x: x + x.square(), [("add", "add")]),
        (lambda x: x + 1, []),
        (lambda x: x - x.amax((2, 3), keepdim=True), [("pool", "amax")]),
        (lambda x: x * x.softmax(1), [("activation", "softmax")]),
        (lambda x: x.softmax(-1) @ x, [("attention", "softmax")]),
        (nn.BatchNorm2d(4, affine=False), [("norm", "batch_norm")]),
        (nn.GroupNorm(2, 4), [("norm", "group_norm")]),
        (nn.InstanceNorm2d(4), [("norm", "instance_norm")]),
        (lambda x: functional.max_pool2d(x, 2, return_indices=True)[0], [("pool", "max_pool2d_with_indices")]),
        (nn.AvgPool2d(2), [("pool", "avg_pool2d")]),
        (nn.Dropout(), []),
    ],
)
def test_an_operation_is_found_once_with_its_kind(
    function: Callable[[Tensor], Tensor], expected: list[tuple[str, str]]
):
    assert kinds_between(function) == expected


@pytest.mark.slow
def test_a_whole_module_is_read_at_its_exit():
    structure = structure_of(Body(HandWrittenGelu()))
    layer = all_layers(structure)[1]
    assert layer.site is not layer.node
    assert layer.site.target is torch.ops.aten.mul.Tensor
    assert layer.entry is all_layers(structure)[0].site


@pytest.mark.slow
def test_a_matrix_product_is_learnable_only_with_parameters():
    class Product(nn.Module):
        shape = (5, 4)

        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.rand(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return ((x @ x.transpose(1, 2)) @ (x @ self.table)).sum(1)

    assert [(layer.kind, layer.op) for layer in all_layers(structure_of(Product()))] == [("learnable", "matmul")]


def test_blocks_are_repeated_units_that_one_value_leaves():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.one(x), self.other(x)

    class Two(nn.Module):
        shape = (4,)

        def __init__(self) -> None:
            super().__init__()
            self.units = nn.ModuleList([Pair(), nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2)])

        def forward(self, x: Tensor) -> Tensor:
            one, other = self.units[0](x)
            return self.units[2](self.units[1](one + other))

    blocks = [layer.call.path for layer in all_layers(structure_of(Two())) if layer.kind == "block"]
    assert blocks == ["units.1"]
    residual = [layer.call.path for layer in all_layers(structure_of(Residual())) if layer.call is not None]
    assert residual == ["layers.0", "layers.1"]


def test_an_operation_is_in_one_table_only():
    tables = [set(KINDS), SOFTMAX, SUMS, REDUCTIONS, MATRIX_PRODUCTS]
    assert sum(len(table) for table in tables) == len(set().union(*tables))


@pytest.mark.parametrize("name", sorted({*KINDS, *SOFTMAX, *SUMS, *REDUCTIONS, *MATRIX_PRODUCTS}))
def test_an_operation_exists(name: str):
    assert hasattr(torch.ops.aten, name)


class Pairs(nn.Module):
    """Products of two values with a weight, and rows of a table that the input weights."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.module, self.weight = nn.Bilinear(4, 4, 4), nn.Parameter(torch.rand(6, 4, 4))
        self.table, self.fc = nn.EmbeddingBag(4, 6, mode="sum"), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        bag = self.table(torch.arange(4).expand(x.shape[0], -1), per_sample_weights=x)
        return self.fc(functional.bilinear(self.module(x, x), x, self.weight) + bag)


def test_bilinear_maps_and_weighted_tables_are_learnable_layers():
    structure = structure_of(Pairs())
    layers = {layer.op: layer for layer in all_layers(structure) if layer.kind == "learnable"}
    assert list(layers) == ["embedding_bag", "bilinear", "linear"]
    dims = neuron_dims(structure)
    assert {dims[layer.site] for layer in layers.values()} == {1}
    images = structure.images
    assert flops(layers["bilinear"].node, structure.shapes) == 2 * images * 6 * (4 * 4 + 4)
    assert flops(layers["embedding_bag"].node, structure.shapes) == 2 * images * 4 * 6
