"""A product with weights and the addition of its bias are one layer, whatever form an exporter gives them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph.taps import per_image, run
from lsa_audit.graph.walker import walk
from lsa_audit.models.static_batch import FixedBatch

from .networks import images_for, model_of


def slowly(*values: object):
    return pytest.param(*values, marks=pytest.mark.slow)


class Product(nn.Module):
    shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(6, 4, generator=generator))
        self.bias = nn.Parameter(torch.randn(4, generator=generator))
        self.last = nn.Parameter(torch.randn(4, 3, generator=generator))

    def hidden(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.hidden(x)) @ self.last


class BiasFirst(Product):
    def hidden(self, x: Tensor) -> Tensor:
        return self.bias + torch.mm(x, self.weight)


class Reshaped(Product):
    """A shape in between, and a bias with a dimension of one."""

    def hidden(self, x: Tensor) -> Tensor:
        return ((x @ self.weight).reshape(-1, 1, 4) + self.bias.reshape(1, 4)).flatten(1)


class Scaled(Product):
    def hidden(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.t()) + 0.5 * self.bias


class Fused(Product):
    def hidden(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)


def reference(network: Product, x: Tensor) -> Tensor:
    scale = 0.5 if isinstance(network, Scaled) else 1.0
    return x @ network.weight + scale * network.bias


@pytest.mark.parametrize("kind", [Product, slowly(BiasFirst), Reshaped, slowly(Scaled), Fused])
def test_the_value_of_the_layer_holds_the_bias(kind: type[Product]):
    network = kind()
    images = images_for(network)
    graph = walk(model_of(network.requires_grad_(False)), images)
    seen: dict[str, Tensor] = {}
    layer = graph.layers[0]
    run(graph, images, {layer.info.name: lambda value: seen.update(value=per_image(layer, value, len(images)))})
    assert (layer.info.op, layer.info.kind, layer.info.neurons) == ("linear", "learnable", 4)
    expected = reference(network, (images - 0.4) / 0.3)
    assert torch.allclose(seen["value"], expected, atol=1e-5)
    assert [entry.info.op for entry in graph.layers] == ["linear", "relu", "matmul"]


class ReadTwice(Product):
    def hidden(self, x: Tensor) -> Tensor:
        product = x @ self.weight
        return product + self.bias + product.sigmoid()


class Widening(Product):
    """The bias is one of several rows, so it is none."""

    def hidden(self, x: Tensor) -> Tensor:
        return ((x @ self.weight)[:, None] + torch.stack([self.bias, -self.bias])).amax(1)


@pytest.mark.parametrize("kind", [ReadTwice, slowly(Widening)])
def test_what_is_no_bias_stays_an_addition(kind: type[Product]):
    network = kind()
    graph = walk(model_of(network.requires_grad_(False)), images_for(network))
    assert graph.layers[0].info.op == "matmul"
    assert graph.info.parity < 1e-6


def test_a_linear_layer_taken_apart_by_vmap_keeps_its_bias():
    torch.manual_seed(0)
    inner = nn.Linear(6, 3)
    network = FixedBatch(inner, 1).requires_grad_(False)
    network.shape = (6,)
    images = images_for(network)
    graph = walk(model_of(network), images)
    seen: dict[str, Tensor] = {}
    layer = graph.layers[0]
    run(graph, images, {layer.info.name: lambda value: seen.update(value=value)})
    assert torch.allclose(seen["value"].reshape(-1, 3), inner((images - 0.4) / 0.3), atol=1e-5)


class Outside(nn.Module):
    """What a module of torch returns is its value, also where the network adds a bias to it."""

    shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Linear(6, 4, bias=False)
        self.bias = nn.Parameter(torch.randn(4))
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x) + self.bias))


class Scaling(nn.Module):
    """A convolution of one's own, with a gain behind it and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.gain = nn.Parameter(torch.randn(4, 2, 3, 3)), nn.Parameter(torch.randn(4, 1, 1))
        self.bias = nn.Parameter(torch.randn(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight) * self.gain + self.bias


class Convolutions(nn.Module):
    """A hand-written convolution, one of the network's own, and products whose bias is one number or wide."""

    shape = (2, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.own = Scaling()
        self.weight, self.bias = nn.Parameter(torch.randn(5, 4, 3, 3)), nn.Parameter(torch.randn(1, 5, 1, 1))
        self.matrix, self.number = nn.Parameter(torch.randn(20, 7)), nn.Parameter(torch.tensor(2.0))
        self.last, self.row = nn.Parameter(torch.randn(7, 3)), nn.Parameter(torch.randn(1, 3))

    def steps(self, x: Tensor) -> list[Tensor]:
        values = [self.own(x)]
        values.append(self.bias + nn.functional.conv2d(values[-1].relu(), self.weight))
        values.append(values[-1].relu().flatten(1) @ self.matrix + self.number)
        return [*values, torch.addmm(self.row, values[-1].relu(), self.last)]

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(x)[-1]


def learnable_values(network: nn.Module, images: Tensor) -> tuple[list[Tensor], list[int]]:
    """The values of the learnable layers, and their parameters."""
    graph = walk(model_of(network.requires_grad_(False)), images)
    assert graph.info.walker == "export"
    layers = [layer for layer in graph.layers if layer.info.kind == "learnable"]
    seen: dict[str, Tensor] = {}

    def keeper(name: str):
        return lambda value: seen.update({name: value})

    run(graph, images, {layer.info.name: keeper(layer.info.name) for layer in layers})
    return [seen[layer.info.name] for layer in layers], [layer.info.parameters for layer in layers]


def test_a_module_of_its_own_keeps_its_value_and_hand_written_layers_hold_their_biases():
    network = Convolutions()
    images = images_for(network)
    found, parameters = learnable_values(network, images)
    expected = network.steps((images - 0.4) / 0.3)
    assert [value.shape for value in found] == [value.shape for value in expected]
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(found, expected, strict=True))
    assert parameters == [4 * 2 * 9 + 8, 5 * 4 * 9 + 5, 20 * 7 + 1, 7 * 3 + 3]

    plain = Outside()
    images = images_for(plain)
    found, _ = learnable_values(plain, images)
    assert torch.allclose(found[0], plain.first((images - 0.4) / 0.3), atol=1e-5)
