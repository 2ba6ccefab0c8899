"""Scaling the weights of a neuron scales exactly that neuron; where nothing does, there are no weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from lsa_audit.graph import taps
from lsa_audit.graph.base import Graph, Layer
from lsa_audit.graph.hooked import describe_hooked
from lsa_audit.graph.walker import walk
from lsa_audit.graph.weights import Weights, drop_site_weights, layer_weights
from lsa_audit.models.onnx.importer import import_graph

from ..models.onnx.building import model
from ..models.onnx.test_importer import SHAPE, cnn_constants, cnn_nodes
from ..models.torchscript.networks import loaded
from .networks import Residual, SequenceFirst, SharedWeights, Transformer, images_for, model_of, randomise

SCALE = 1.75
Place = Literal["site", "drop_site"]


class Net(nn.Module):
    """A forward over named modules, for images of a given shape."""

    def __init__(
        self, forward: Callable[[Net, Tensor], Tensor], shape: tuple[int, ...] = (3, 6, 6), **children: nn.Module
    ) -> None:
        super().__init__()
        self.shape = shape
        self.function = forward
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x).flatten(1)


class Standardised(nn.Conv2d):
    """Not the stored weight convolves, but what is made of it."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, (self.weight - self.weight.mean()) / self.weight.std(), self.bias)


class Projection(nn.Module):
    """A matrix product with a stored table, kept either way round."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.rand(5, 3) if turned else torch.rand(3, 5))
        self.turned = turned

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.table.transpose(0, 1) if self.turned else self.table)


def chain(net: Net, x: Tensor) -> Tensor:
    for child in net.children():
        x = child(x)
    return x


def tokens(net: Net, x: Tensor) -> Tensor:
    return net.linear(x.flatten(2).transpose(1, 2))


def walked(network: nn.Module, hooks: bool = False) -> Graph:
    model = model_of(randomise(network).requires_grad_(False))
    images = images_for(network)
    return describe_hooked(model.module, images, []) if hooks else walk(model, images)


def value_of(graph: Graph, layer: Layer, images: Tensor, at: Place) -> Tensor:
    seen: list[Tensor] = []

    def keep(value: Tensor) -> None:
        seen.append(value.clone())

    with torch.no_grad():
        taps.run(graph, images, {layer.info.name: keep}, at)
    return taps.by_neuron(layer, seen[0], len(images))


@torch.no_grad()
def check_every_neuron(graph: Graph, layer: Layer, weights: Weights, at: Place, images: Tensor) -> None:
    before = value_of(graph, layer, images, at)
    for neuron in range(before.shape[1]):
        kept = [tensor.clone() for tensor in (weights.weight, weights.bias) if tensor is not None]
        weights.weight.select(weights.neuron_dim, neuron).mul_(SCALE)
        if weights.bias is not None:
            weights.bias[neuron] *= SCALE
        scaled = before.clone()
        scaled[:, neuron] *= SCALE
        torch.testing.assert_close(value_of(graph, layer, images, at), scaled, rtol=1e-4, atol=1e-5)
        weights.weight.copy_(kept[0])
        if weights.bias is not None:
            weights.bias.copy_(kept[1])


def found(graph: Graph, network: nn.Module, at: Place) -> Mapping[str, str | None]:
    """The names of the weights by layer, each checked."""
    names = {}
    look = layer_weights if at == "site" else drop_site_weights
    for layer in graph.layers:
        weights = look(graph, layer)
        names[layer.info.name] = None if weights is None else weights.name
        if weights is not None:
            assert weights.weight is dict(graph.module.named_parameters())[f"network.{weights.name}"]
            check_every_neuron(graph, layer, weights, at, images_for(network, 4, seed=2))
    return names


CHAINS: dict[str, tuple[tuple[int, ...], dict[str, nn.Module], dict[str, str]]] = {
    "conv": ((3, 6, 6), {"c": nn.Conv2d(3, 4, 3)}, {"c": "c.weight"}),
    "conv without bias, batch norm": (
        (3, 6, 6),
        {"c": nn.Conv2d(3, 4, 3, bias=False), "b": nn.BatchNorm2d(4)},
        {"c": "b.weight", "b": "b.weight"},
    ),
    "grouped and depthwise": (
        (4, 6, 6),
        {"g": nn.Conv2d(4, 8, 3, groups=2), "d": nn.Conv2d(8, 8, 3, groups=8)},
        {"g": "g.weight", "d": "d.weight"},
    ),
    "one dimension": ((3, 9), {"c": nn.Conv1d(3, 4, 3), "n": nn.GroupNorm(2, 4)}, {"c": "c.weight", "n": "n.weight"}),
    "transposed": (
        (3, 4, 4),
        {"c": nn.ConvTranspose2d(3, 5, 2), "t": nn.ConvTranspose2d(5, 5, 2, groups=5)},
        {"c": "c.weight", "t": "t.weight"},
    ),
    "linear, batch norm": (
        (6,),
        {"l": nn.Linear(6, 5), "b": nn.BatchNorm1d(5), "n": nn.LayerNorm(5), "r": nn.RMSNorm(5)},
        {"l": "b.weight", "b": "b.weight", "n": "n.weight", "r": "r.weight"},
    ),
    "products": (
        (4, 3),
        {"one": Projection(False), "linear": nn.Linear(5, 3), "other": Projection(True)},
        {"one": "one.table", "linear": "linear.weight", "other": "other.table"},
    ),
}


@pytest.mark.slow_except("transposed", "linear, batch norm", "products")
@pytest.mark.parametrize("name", CHAINS)
def test_scaled_weights_scale_the_neuron_that_the_consumers_see(name: str):
    shape, children, expected = CHAINS[name]
    network = Net(chain, shape, **children)
    graph = walked(network)
    assert graph.info.walker == "export"
    names = found(graph, network, "drop_site")
    assert {layer: weight for layer, weight in names.items() if weight} == expected


@pytest.mark.parametrize("name", [name for name in CHAINS if name != "products"])
def test_hooked_modules_scale_alike(name: str):
    shape, children, _ = CHAINS[name]
    network = Net(chain, shape, **children)
    names = found(walked(network, hooks=True), network, "drop_site")
    assert {layer: weight for layer, weight in names.items() if weight} == {path: f"{path}.weight" for path in children}


def test_the_layers_own_weights_are_those_before_the_batch_norm():
    network = Net(chain, c=nn.Conv2d(3, 4, 3), b=nn.BatchNorm2d(4))
    assert found(walked(network), network, "site") == {"c": "c.weight", "b": "b.weight"}


def test_linear_layers_on_tokens():
    network = Net(tokens, linear=nn.Linear(3, 5))
    assert found(walked(network), network, "site") == {"linear": "linear.weight"}
    names = found(walked(Transformer()), Transformer(), "drop_site")
    assert names["fused.qkv"] == "fused.qkv.weight"
    assert names["plain.softmax"] is None
    assert found(walked(SequenceFirst()), SequenceFirst(), "site")["attention.out_proj"] == "attention.out_proj.weight"


WITHOUT: dict[str, tuple[Net, str]] = {
    "a transposed convolution in groups": (Net(chain, (4, 4, 4), c=nn.ConvTranspose2d(4, 6, 2, groups=2)), "c"),
    "a depthwise one with two inputs each": (Net(chain, (4, 4, 4), c=nn.ConvTranspose2d(4, 2, 2, groups=2)), "c"),
    "a batch norm that is not affine": (Net(chain, b=nn.BatchNorm2d(3, affine=False)), "b"),
    "the convolution before it": (Net(chain, c=nn.Conv2d(3, 4, 3), b=nn.BatchNorm2d(4, affine=False)), "c"),
    "standardised weights": (Net(chain, c=Standardised(3, 4, 3)), "c"),
    "weight norm": (Net(chain, c=parametrizations.weight_norm(nn.Conv2d(3, 4, 3))), "c"),
    "a bias that something else reads": (Net(lambda net, x: net.l(x) + net.l.bias, (6,), l=nn.Linear(6, 6)), "l"),
    "a weight that something else reads": (Net(lambda net, x: net.l(x) @ net.l.weight, (6,), l=nn.Linear(6, 6)), "l"),
    "the gram matrix of a weight": (
        Net(lambda net, x: functional.linear(x, net.l.weight @ net.l.weight.t()), (6,), l=nn.Linear(6, 6)),
        "l",
    ),
}


@pytest.mark.slow_except(
    "a transposed convolution in groups",
    "a depthwise one with two inputs each",
    "a bias that something else reads",
    "a weight that something else reads",
)
@pytest.mark.parametrize("name", WITHOUT)
def test_there_are_none_where_scaling_would_do_something_else(name: str):
    network, layer = WITHOUT[name]
    assert found(walked(network), network, "drop_site")[layer] is None


@pytest.mark.parametrize(
    "name",
    [
        "a transposed convolution in groups",
        "a depthwise one with two inputs each",
        "a batch norm that is not affine",
        "standardised weights",
        "weight norm",
    ],
)
def test_nor_behind_hooks(name: str):
    network, layer = WITHOUT[name]
    names = found(walked(network, hooks=True), network, "drop_site")
    assert names.get(layer) is None


@pytest.mark.slow_except("hooks")
@pytest.mark.parametrize("hooks", [False, True], ids=["export", "hooks"])
def test_shared_weights_belong_to_nobody(hooks: bool):
    names = found(walked(SharedWeights(), hooks), SharedWeights(), "site")
    assert set(names.values()) == {None}


@pytest.mark.slow_except("scripted")
@pytest.mark.parametrize("kind", ["traced", "scripted"])
def test_a_torchscript_file_keeps_its_weights(kind: str, tmp_path: Path):
    network = randomise(Residual())
    graph = walk(loaded(network, kind, tmp_path), images_for(network))
    names = found(graph, network, "drop_site")
    assert names["layers.1.conv1"] == "layers.1.bn1.weight"
    assert names["layers.1.conv2"] == "layers.1.conv2.weight"
    assert names["fc"] == "fc.weight"


def test_an_onnx_file_keeps_its_weights():
    network = import_graph(model(cnn_nodes(), SHAPE, cnn_constants())).network
    network.shape = SHAPE[1:]
    graph = walked(network)
    names = found(graph, network, "drop_site")
    made = {layer.info.op: names[layer.info.name] for layer in graph.layers}
    assert made["conv2d"] == "conv.weight"
    assert made["linear"] == "fc.weight"


@pytest.mark.parametrize("hooks", [False, True])
def test_a_norm_over_several_dimensions_has_no_weights_of_its_neurons(hooks: bool):
    # As many columns as channels: the sizes alone would not tell.
    network = Net(chain, (4, 4, 4), c=nn.Conv2d(4, 4, 1), n=nn.LayerNorm((4, 4, 4), bias=False))
    names = found(walked(network, hooks=hooks), network, "drop_site")
    assert {layer: weight for layer, weight in names.items() if weight} == {"c": "c.weight"}
