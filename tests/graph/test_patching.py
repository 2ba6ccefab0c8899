"""Clean values that are put back give the logits of a whole forward with a visitor, whatever crosses the cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from lsa_audit.graph import taps
from lsa_audit.graph.base import Graph, Layer
from lsa_audit.graph.patching import Hooked, Lockstep, Neurons, Patch, Patched, patcher
from lsa_audit.graph.walker import walk

from .networks import (
    EXPORTED,
    BatchCoupled,
    DataDependent,
    Mlp,
    Residual,
    SharedWeights,
    Transformer,
    images_for,
    model_of,
    randomise,
)
from .walking import close, walked

COUNT = 5


class Towers(nn.Module):
    """Branches that run one after the other and meet at the end; the second one's size is known only by then."""

    shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(6, 6)
        self.left = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 5))
        self.right = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 5))
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        trunk = torch.tanh(self.trunk(x))
        left, right = self.left(trunk), self.right(trunk + x)
        return self.head(torch.cat([left, right * torch.ones(len(right), 1)], dim=1))


class Transposed(nn.Module):
    """Neurons come before the images: [U, N] behind the activation."""

    shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.inner(x).transpose(0, 1)).transpose(0, 1))


def pictures(network: Any, count: int = COUNT) -> tuple[Tensor, Tensor]:
    return images_for(network, count, seed=4), images_for(network, count, seed=5)


def whole(graph: Graph, patch: Patch, images: Tensor, adversarial: Tensor) -> Tensor:
    """A whole forward for the clean value, and one of the attacked images in which it takes the value's place."""
    name = patch.layer.info.name
    seen: list[Tensor] = []

    def read(value: Tensor) -> None:
        seen.append(value.clone())

    def write(value: Tensor) -> Tensor:
        if patch.neurons is None:
            return seen[0].clone()
        for neuron in patch.neurons:
            clean = seen[0].select(patch.layer.info.neuron_dim, neuron)
            value = taps.with_neuron(patch.layer, value, neuron, clean)
        return value

    with torch.no_grad():
        taps.run(graph, images, {name: read}, at="drop_site")
        return taps.run(graph, adversarial, {name: write}, at="drop_site")


def some(layer: Layer) -> Neurons:
    """Every third neuron, the last one first."""
    return tuple(range(0, layer.info.neurons or 0, 3))[::-1]


def patches_of(layers: Sequence[Layer]) -> list[Patch]:
    groups = [Patch(layer, some(layer)) for layer in layers if layer.info.neurons]
    return [*(Patch(layer) for layer in layers), *groups]


def check(graph: Graph, patches: Sequence[Patch], images: Tensor, adversarial: Tensor) -> Patched:
    found = patcher(graph, patches).run(images, adversarial)
    with torch.no_grad():
        assert close(found.clean, taps.run(graph, images, {}))
        assert close(found.attacked, taps.run(graph, adversarial, {}))
    assert len(found.patched) == len(patches)
    for patch, logits in zip(patches, found.patched, strict=True):
        assert close(logits, whole(graph, patch, images, adversarial)), (patch.layer.info.name, patch.neurons)
    return found


@pytest.mark.slow_except(
    "1-Windows",
    "1-Caching",
    "5-SharedWeights",
    "5-Mlp",
    "5-Windows",
    "5-SequenceFirst",
    "5-Caching",
    "5-Towers",
    "5-Transposed",
    "5-BatchCoupled",
)
@pytest.mark.parametrize(
    "network",
    [case.network for case in EXPORTED] + [Towers, Transposed, BatchCoupled],
    ids=lambda network: network.__name__,
)
@pytest.mark.parametrize("count", [1, COUNT])
def test_logits_are_those_of_a_whole_forward(network: type[nn.Module], count: int):
    graph, _ = walked(network)
    assert isinstance(patcher(graph, []), Lockstep)
    check(graph, patches_of(graph.layers), *pictures(network, count))


def test_a_model_that_runs_as_modules_is_run_whole():
    graph, layers = walked(DataDependent)
    assert isinstance(patcher(graph, []), Hooked)
    check(graph, patches_of([layers[name] for name in ("stem", "act", "layers.0.0", "fc")]), *pictures(DataDependent))
    assert all(not module._forward_hooks for module in graph.module.modules())


@pytest.mark.parametrize("network", [Residual, DataDependent])
def test_what_lies_on_every_path_gives_the_clean_logits_and_what_lies_beside_one_does_not(network: type[nn.Module]):
    graph, layers = walked(network)
    stem, beside = ("stem", "layers.0.conv2") if network is Residual else ("stem", "layers.0.0")
    found = patcher(graph, [Patch(layers[stem]), Patch(layers["fc"]), Patch(layers[beside])]).run(*pictures(network))
    assert close(found.patched[0], found.clean)
    assert close(found.patched[1], found.clean)
    assert not torch.allclose(found.patched[1], found.attacked, rtol=1e-2)
    if network is Residual:
        assert not torch.allclose(found.patched[2], found.clean, rtol=1e-3)
        assert not torch.allclose(found.patched[2], found.attacked, rtol=1e-3)


def test_all_neurons_of_a_layer_are_the_layer():
    graph, layers = walked(Residual)
    layer = layers["layers.0.conv1"]
    found = patcher(graph, [Patch(layer), Patch(layer, (2, 0, 3, 1)), Patch(layer, (1,))]).run(*pictures(Residual))
    assert close(found.patched[0], found.patched[1])
    assert not torch.allclose(found.patched[0], found.patched[2], rtol=1e-3)


def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the nodes that are run from here on."""
    names: list[str] = []
    run = fx.Interpreter.call_function

    def note(self: fx.Interpreter, target: Any, args: Any, kwargs: Any) -> Any:
        names.append(str(target))
        return run(self, target, args, kwargs)

    monkeypatch.setattr(fx.Interpreter, "call_function", note)
    return names


def test_only_what_depends_on_the_layer_runs_again(monkeypatch):
    graph, layers = walked(Towers)
    names = ran(monkeypatch)
    runs = {}
    for name in ("left.0", "left.2", "right.0", "head"):
        names.clear()
        patcher(graph, [Patch(layers[name])]).run(*pictures(Towers))
        runs[name] = sum("linear" in each or "addmm" in each for each in names)
    # Twice the six of a forward, and those behind the layer: `left` waits for `right` instead of running it again.
    assert runs == {"left.0": 14, "left.2": 13, "right.0": 14, "head": 12}


def test_layers_with_one_drop_site_share_their_run(monkeypatch):
    graph, layers = walked(Mlp)
    assert layers["0"].drop_site == layers["1"].drop_site
    names = ran(monkeypatch)
    found = patcher(graph, [Patch(layers["0"])]).run(*pictures(Mlp))
    alone = len(names)
    names.clear()
    both = patcher(graph, [Patch(layers["0"]), Patch(layers["1"])]).run(*pictures(Mlp))
    assert len(names) == alone
    assert close(both.patched, found.patched.expand(2, -1, -1))


def test_a_layer_that_the_logits_do_not_depend_on_changes_nothing():
    graph, layers = walked.__wrapped__(Residual)
    module = graph.module
    assert isinstance(module, fx.GraphModule)
    nodes = {node.name: node for node in module.graph.nodes}
    with module.graph.inserting_after(nodes[layers["stem"].site]):
        idle = module.graph.call_function(torch.ops.aten.relu.default, (nodes[layers["stem"].site],))
    layer = replace(layers["stem"], drop_site=idle.name)
    found = patcher(graph, [Patch(layer), Patch(layers["fc"])]).run(*pictures(Residual))
    assert close(found.patched[0], found.attacked)
    assert close(found.patched[1], found.clean)


def test_a_value_goes_when_nobody_reads_it_any_more():
    graph, layers = walked(Residual)
    runner = patcher(graph, patches_of(graph.layers))
    assert isinstance(runner, Lockstep)
    left = [fork.site for leg in runner._legs for fork in leg.forks]
    assert len(left) == len({layer.drop_site for layer in graph.layers})
    values: dict[fx.Node, Any] = {runner._images: images_for(Residual)}
    for leg in runner._legs:
        leg.section.run(values)
        values = {node: value for node, value in values.items() if node in leg.kept}
        activations = [value for node, value in values.items() if isinstance(value, Tensor) and node.op != "get_attr"]
        # A residual branch, and what it is added to.
        assert len(activations) <= 2
    assert {node.name for node in values} == {layers["fc"].site}


def test_neurons_of_a_layer_that_has_none_are_refused():
    graph, layers = walked(Transformer)
    with pytest.raises(ValueError, match="no neuron dimension"):
        patcher(graph, [Patch(layers["plain.softmax"], (0,))])


def test_nothing_stays_behind():
    network = randomise(SharedWeights())
    state = {name: value.clone() for name, value in network.state_dict().items()}
    graph = walk(model_of(network), images_for(network))
    images, adversarial = pictures(network)
    before = images.clone(), adversarial.clone()
    found = patcher(graph, patches_of(graph.layers)).run(images, adversarial)
    assert not found.patched.requires_grad
    assert torch.equal(images, before[0])
    assert torch.equal(adversarial, before[1])
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "size", "every", "count"),
    [
        ("resnet18", 32, 2, 8),
        ("densenet121", 64, 25, 8),
        ("inception_v3", 96, 25, 8),
        ("vit_tiny_patch16_224", 64, 8, 8),
        ("swin_tiny_patch4_window7_224", 56, 12, 8),
        ("mobilenetv3_small_100", 64, 11, 8),
    ],
)
@pytest.mark.slow
def test_timm_models(name: str, size: int, every: int, count: int):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    arguments = {"img_size": size} if name.startswith(("vit", "swin")) else {}
    network = randomise(timm.create_model(name, pretrained=False, num_classes=10, **arguments))
    images, adversarial = torch.rand((2, count, 3, size, size), generator=torch.Generator().manual_seed(1))
    graph = walk(model_of(network.requires_grad_(False)), images[:3])
    assert isinstance(patcher(graph, []), Lockstep)
    check(graph, patches_of(graph.layers[::every]), images, adversarial)
