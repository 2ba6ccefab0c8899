"""What taps read equals plain forward hooks, what they replace reaches the logits, and nothing is kept."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph import taps
from lsa_audit.graph.base import Graph, Layer
from lsa_audit.graph.walker import walk
from lsa_audit.models.base import Model

from .networks import DataDependent, Mlp, Residual, SequenceFirst, Transformer, Windows, images_for, model_of, randomise

COUNT = 4


def walked(network: nn.Module) -> tuple[Model, Graph, dict[str, Layer]]:
    model = model_of(randomise(network).requires_grad_(False))
    graph = walk(model, images_for(network))
    return model, graph, {layer.info.name: layer for layer in graph.layers}


def hooked_values(model: Model, images: Tensor, paths: list[str]) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}

    def keep(path: str):
        def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            values.setdefault(path, output.clone())

        return hook

    handles = [model.module.network.get_submodule(path).register_forward_hook(keep(path)) for path in paths]
    with torch.no_grad():
        model.module(images)
    for handle in handles:
        handle.remove()
    return values


@pytest.mark.slow_except("DataDependent")
@pytest.mark.parametrize(
    ("network", "paths"),
    [
        (Residual(), ["stem", "layers.0.conv1", "layers.0.bn1", "layers.0.act", "layers.0.conv2", "layers.1", "fc"]),
        (Transformer(), ["patch", "norm1", "fused.qkv", "fused.proj", "scale", "act", "head"]),
        (DataDependent(), ["stem", "bn", "act", "layers.0.0", "layers.0", "fc"]),
    ],
    ids=["Residual", "Transformer", "DataDependent"],
)
def test_values_equal_those_of_plain_hooks(network: nn.Module, paths: list[str]):
    model, graph, _ = walked(network)
    images = images_for(network, COUNT, seed=5)
    seen: dict[str, Tensor] = {}

    def visitor(name: str) -> taps.Visitor:
        def visit(value: Tensor) -> None:
            seen[name] = value.clone()

        return visit

    with torch.no_grad():
        logits = taps.run(graph, images, {path: visitor(path) for path in paths})
        assert torch.allclose(logits, model.module(images), rtol=1e-5, atol=1e-6)
    for path, value in hooked_values(model, images, paths).items():
        assert torch.allclose(seen[path], value, rtol=1e-5, atol=1e-6), path


@pytest.mark.slow_except("hooks")
@pytest.mark.parametrize("network", [Residual(), DataDependent()], ids=["graph", "hooks"])
def test_a_dropped_neuron_reaches_the_logits_as_a_zeroed_channel_does(network: nn.Module):
    model, graph, layers = walked(network)
    images = images_for(network, COUNT)
    name = "layers.0.conv2" if isinstance(network, Residual) else "layers.0.0"
    convolution = network.get_submodule(name)
    with torch.no_grad():
        logits = taps.run(graph, images, {name: lambda value: taps.with_neuron(layers[name], value, 2, 0.0)})
        convolution.weight[2] = 0
        convolution.bias[2] = 0
        assert torch.allclose(logits, model.module(images), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_drop_site_is_behind_the_batch_norm():
    model, graph, layers = walked(Residual())
    network = model.module.network
    images = images_for(network, COUNT)
    layer = layers["layers.0.conv1"]

    def drop(value: Tensor) -> Tensor:
        return taps.with_neuron(layer, value, 1, 0.25)

    with torch.no_grad():
        logits = taps.run(graph, images, {layer.info.name: drop}, at="drop_site")
        network.layers[0].bn1.weight[1] = 0
        network.layers[0].bn1.bias[1] = 0.25
        assert torch.allclose(logits, model.module(images), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_visitors_at_one_place_see_what_the_one_before_left():
    _, graph, layers = walked(Residual())
    assert layers["layers.0"].site == layers["layers.0.act_2"].site
    seen = []
    visitors = {
        "layers.0.act_2": lambda value: value * 0 + 3,
        "layers.0": lambda value: seen.append(value.mean().item()),
    }
    with torch.no_grad():
        taps.run(graph, images_for(Residual(), COUNT), visitors)
    assert seen == [3.0]


@pytest.mark.slow_except("hooks")
@pytest.mark.parametrize("network", [Residual(), DataDependent()], ids=["graph", "hooks"])
def test_gradients_flow_to_the_images_and_to_a_replacement(network: nn.Module):
    model, graph, _ = walked(network)
    images = images_for(network, COUNT).requires_grad_()
    shift = torch.zeros((), requires_grad=True)
    taps.run(graph, images, {"stem": lambda value: value + shift}).square().sum().backward()
    own = images.detach().clone().requires_grad_()
    model.module(own).square().sum().backward()
    assert torch.allclose(images.grad, own.grad, rtol=1e-4, atol=1e-7)
    assert own.grad.abs().max() > 0
    assert shift.grad.abs() > 0


@pytest.mark.slow_except("hooks")
@pytest.mark.parametrize("network", [Residual(), DataDependent()], ids=["graph", "hooks"])
def test_values_are_freed_once_their_last_user_has_run(network: nn.Module):
    _, graph, _ = walked(network)
    alive: list[weakref.ref[Tensor]] = []
    at_the_end = []

    def note(value: Tensor) -> None:
        alive.append(weakref.ref(value))

    def count(value: Tensor) -> None:
        gc.collect()
        at_the_end.append(sum(reference() is not None for reference in alive))

    with torch.no_grad():
        taps.run(graph, images_for(network, COUNT), {"stem": note, "layers.0": note, "fc": count})
    assert len(alive) == 2
    assert at_the_end == [0]


def test_an_unknown_layer_is_refused_before_the_model_runs():
    _, graph, _ = walked(Mlp())
    with pytest.raises(KeyError, match="nowhere"):
        taps.run(graph, images_for(Mlp()), {"nowhere": lambda value: None})


@pytest.mark.slow_except("hooks")
@pytest.mark.parametrize("network", [Residual(), DataDependent()], ids=["graph", "hooks"])
def test_a_visitor_that_raises_raises_through_and_leaves_no_hook(network: nn.Module):
    _, graph, _ = walked(network)

    def fail(value: Tensor) -> None:
        raise ArithmeticError("no more")

    with pytest.raises(ArithmeticError, match=r"^no more"):
        taps.run(graph, images_for(network), {"stem": fail})
    assert all(not module._forward_hooks for module in network.modules())


@pytest.mark.slow_except("Residual")
@pytest.mark.parametrize(
    "network", [Residual(), Transformer(), Windows(), SequenceFirst()], ids=lambda n: type(n).__name__
)
def test_an_images_part_is_what_it_would_be_alone(network: nn.Module):
    _, graph, layers = walked(network)
    images = images_for(network, COUNT, seed=3)

    def values(batch: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}

        def visitor(layer: Layer) -> taps.Visitor:
            def visit(value: Tensor) -> None:
                rows = taps.per_image(layer, value, len(batch))
                assert rows.shape == (
                    len(batch),
                    layer.info.output_shape and torch.Size(layer.info.output_shape).numel(),
                )
                seen[layer.info.name] = rows.clone()
                if layer.info.neurons is not None:
                    neurons = taps.by_neuron(layer, value, len(batch))
                    assert neurons.shape == (len(batch), layer.info.neurons, rows.shape[1] // layer.info.neurons)
                    assert torch.equal(neurons.flatten(1).sort(1).values, rows.sort(1).values)

            return visit

        with torch.no_grad():
            taps.run(graph, batch, {name: visitor(layer) for name, layer in layers.items()})
        return seen

    together = values(images)
    for index in range(COUNT):
        for name, alone in values(images[index : index + 1]).items():
            assert torch.allclose(together[name][index], alone[0], rtol=1e-4, atol=1e-5), name


def test_a_neuron_that_is_set_is_the_only_one_that_changes():
    _, graph, layers = walked(SequenceFirst())
    layer = layers["attention.out_proj"]
    checked = []

    def visit(value: Tensor) -> None:
        before = taps.by_neuron(layer, value, 3)
        after = taps.by_neuron(layer, taps.with_neuron(layer, value, 3, torch.tensor(7.0)), 3)
        assert (after[:, 3] == 7).all()
        assert torch.equal(after[:, :3], before[:, :3])
        assert torch.equal(after[:, 4:], before[:, 4:])
        assert not (before[:, 3] == 7).any()
        checked.append(True)

    with torch.no_grad():
        taps.run(graph, images_for(SequenceFirst()), {"attention.out_proj": visit})
    assert checked == [True]


def test_a_layer_without_neurons_says_so():
    _, _, layers = walked(Transformer())
    layer = layers["plain.softmax"]
    with pytest.raises(ValueError, match="no neuron dimension"):
        taps.by_neuron(layer, torch.zeros(3, 2, 5, 5), 3)
    with pytest.raises(ValueError, match="no neuron dimension"):
        taps.with_neuron(layer, torch.zeros(3, 2, 5, 5), 0, 0.0)
