"""What runs again behind a layer gives the logits of a whole forward, whatever crosses the cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from lsa_audit.graph import taps
from lsa_audit.graph.base import Graph, Layer, Layout
from lsa_audit.graph.cut import GraphSection, find_cut
from lsa_audit.graph.stacking import PerImage, Unstackable, chosen, find_crossing, stack_size
from lsa_audit.graph.suffix import Rerun, Suffix, Whole, rerun
from lsa_audit.graph.together import Together
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


class SideInputs(nn.Module):
    """Behind `inner`: the image itself, a value from before, one from beside, constants, and the batch size."""

    shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.inner = nn.Linear(6, 6)
        self.beside = nn.Linear(6, 6)
        self.token = nn.Parameter(torch.randn(1, 6))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        before = functional.relu(self.first(x))
        inner = functional.relu(self.inner(before))
        beside = self.beside(before) * torch.arange(6)
        token = self.token.expand(len(x), -1)
        rows = torch.stack([inner * x, beside + before, token], dim=1).reshape(3 * len(x), 6)
        return self.head(rows.view(len(x), 3, 6).tanh().sum(1))


class Alternating(nn.Module):
    """A value [S * N, E] in which the images alternate crosses the cut behind `inner`."""

    shape = (4, 6)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.inner = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.first(x.transpose(0, 1)).reshape(4 * len(x), 6)
        mixed = torch.sigmoid(self.inner(flat)) * flat
        weights = torch.arange(1, 5).view(4, 1, 1)
        return self.head((mixed.view(4, len(x), 6) * weights).sum(0))


class Transposed(nn.Module):
    """Neurons come before the images: [U, N] behind the activation."""

    shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.inner(x).transpose(0, 1)).transpose(0, 1))


class Recurrent(nn.Module):
    """Zeros of the batch size cross the cut behind `inner`."""

    shape = (4, 6)

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 5)
        self.lstm = nn.LSTM(5, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(torch.tanh(self.inner(x)))[0][:, -1])


class Numbered(nn.Module):
    """Behind `inner`, the images are numbered: the numbers of three images are not those of two images and one."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.inner(x))
        return self.head(hidden + 0 * hidden * torch.arange(len(x)).view(-1, 1))


def whole(graph: Graph, layer: Layer, images: Tensor, neuron: int, fill: float) -> Tensor:
    def drop(value: Tensor) -> Tensor:
        return taps.with_neuron(layer, value, neuron, fill)

    with torch.no_grad():
        return taps.run(graph, images, {layer.info.name: drop}, at="drop_site")


def check(graph: Graph, layer: Layer, images: Tensor, most: int, limit_bytes: int | None = None) -> Rerun:
    """Up to `most` neurons set to numbers of their own, on all images and on some, against whole forwards."""
    runner = rerun(graph, layer, limit_bytes)
    kept = runner.keep(images)
    neurons = sorted({int(index) for index in torch.linspace(0, (layer.info.neurons or 0) - 1, most)})
    fill = torch.linspace(0, 0.5, len(neurons))
    rows = torch.tensor([3, 0, 2])
    found, some = runner.drop(kept, neurons, fill), runner.drop(kept, neurons, fill, rows)
    assert found.shape[:2] == (len(neurons), len(images))
    for position, neuron in enumerate(neurons):
        expected = whole(graph, layer, images, neuron, float(fill[position]))
        assert close(found[position], expected), f"{layer.info.name} {neuron}"
        assert close(some[position], expected[rows]), f"{layer.info.name} {neuron}, some images"
    with torch.no_grad():
        assert close(runner.finish(kept), taps.run(graph, images, {})), layer.info.name
    return runner


@pytest.mark.slow_except("SharedWeights", "Mlp", "Windows", "SequenceFirst", "Caching")
@pytest.mark.parametrize(
    "network",
    [case.network for case in EXPORTED] + [SideInputs, Alternating, Transposed, Recurrent],
    ids=lambda network: network.__name__,
)
def test_logits_are_those_of_a_whole_forward(network: type[nn.Module]):
    graph, _ = walked(network)
    images = images_for(network, COUNT, seed=4)
    for layer in graph.layers:
        if layer.info.neurons is not None:
            runner = check(graph, layer, images, 4)
            assert runner.exact_suffix, layer.info.name
            assert runner.stackable, layer.info.name


def test_a_dropped_neuron_moves_the_logits():
    graph, layers = walked(Residual)
    runner = rerun(graph, layers["layers.0.conv1"])
    kept = runner.keep(images_for(Residual, COUNT))
    assert not torch.allclose(runner.drop(kept, [1])[0], runner.finish(kept), rtol=1e-3)


def test_memory_sets_how_many_images_go_through_at_once(monkeypatch):
    graph, layers = walked(Transformer)
    images = images_for(Transformer, COUNT)
    layer = layers["patch"]
    sizes = []
    run = Suffix._run

    def noted(self: Suffix, kept: Any, rows: Any, *others: Any) -> Tensor:
        sizes.append(0 if rows is None else len(rows))
        return run(self, kept, rows, *others)

    monkeypatch.setattr(Suffix, "_run", noted)
    for limit_bytes, expected in ((1, [1] * 8 * COUNT), (2**30, [8 * COUNT])):
        runner = rerun(graph, layer, limit_bytes)
        kept = runner.keep(images)
        sizes.clear()
        runner.drop(kept, range(8))
        assert sizes == expected
    assert check(graph, layer, images, 8, limit_bytes=1).stackable


def test_a_run_of_one_neuron_leaves_what_was_kept():
    graph, layers = walked(Residual)
    for layer in layers.values():
        runner = rerun(graph, layer)
        kept = runner.keep(images_for(Residual, COUNT))
        before = {node: value.clone() for node, value in kept.values.items() if isinstance(value, Tensor)}
        runner.drop(kept, [0], 9.0)
        assert all(torch.equal(kept.values[node], value) for node, value in before.items()), layer.info.name


@pytest.mark.slow_except("BatchCoupled")
@pytest.mark.parametrize("network", [Numbered, BatchCoupled], ids=lambda network: network.__name__)
def test_where_copies_cannot_be_told_apart_neurons_are_dropped_one_by_one(network: type[nn.Module]):
    graph, layers = walked(network)
    layer = layers["inner" if network is Numbered else "first"]
    runner = check(graph, layer, images_for(network, COUNT, seed=2), 3)
    assert runner.exact_suffix
    assert not runner.stackable


@pytest.mark.parametrize("wrong", [None, PerImage(1)], ids=["no growth", "another size"])
def test_a_wrong_belief_about_the_batch_shows_when_copies_are_tried(monkeypatch, wrong):
    def believe(pair: Any, triple: Any, dependent: bool) -> Any:
        return wrong if isinstance(pair, int) else find_crossing(pair, triple, dependent)

    graph, layers = walked(SideInputs)
    monkeypatch.setattr("lsa_audit.graph.suffix.find_crossing", believe)
    assert not check(graph, layers["inner"], images_for(SideInputs, COUNT), 3).stackable


def test_stacked_logits_that_differ_are_not_believed(monkeypatch):
    def roll(value: Tensor, *others: Any) -> Tensor:
        return chosen(value, *others).roll(1, 0)

    graph, layers = walked(SideInputs)
    before = rerun(graph, layers["inner"])
    before.keep(images_for(SideInputs, COUNT))
    monkeypatch.setattr("lsa_audit.graph.suffix.chosen", roll)
    after = rerun(graph, layers["inner"])
    after.keep(images_for(SideInputs, COUNT))
    assert (before.stackable, after.stackable) == (True, False)


def test_a_model_that_runs_as_modules_is_run_whole():
    graph, layers = walked(DataDependent)
    images = images_for(DataDependent, COUNT)
    for name in ("stem", "layers.0.0", "fc"):
        runner = check(graph, layers[name], images, 3)
        assert isinstance(runner, Whole)
        assert not runner.exact_suffix
        assert runner.stackable
        assert runner.flops == sum(layer.info.flops for layer in graph.layers)
    assert all(not module._forward_hooks for module in graph.module.modules())


def test_a_layer_that_the_logits_do_not_depend_on_is_not_run():
    graph, layers = walked.__wrapped__(Residual)
    module = graph.module
    assert isinstance(module, fx.GraphModule)
    nodes = {node.name: node for node in module.graph.nodes}
    with module.graph.inserting_after(nodes[layers["stem"].site]):
        idle = module.graph.call_function(torch.ops.aten.relu.default, (nodes[layers["stem"].site],))
    layer = replace(layers["stem"], drop_site=idle.name)
    runner = check(replace(graph, layers=(layer,)), layer, images_for(Residual, COUNT), 4)
    assert runner.flops == 0
    cut = find_cut(module.graph, idle.name)
    assert not cut.reached
    assert cut.suffix == cut.crossing == ()


def test_the_cut_holds_what_is_needed_and_no_more():
    graph, layers = walked(SideInputs)
    module = graph.module
    assert isinstance(module, fx.GraphModule)
    cut = find_cut(module.graph, layers["inner"].drop_site)
    sites = {layers[name].site for name in ("first", "beside")}
    assert sites <= {node.name for node in cut.prefix}
    assert not {*cut.prefix} & {*cut.suffix}
    assert cut.site in cut.prefix
    assert cut.suffix[-1] is cut.logits
    assert all({*node.all_input_nodes} <= {cut.site, *cut.crossing, *cut.suffix} for node in cut.suffix)
    # The normalised image and the sum that holds `beside`; token, sizes and weights do not depend on the images.
    assert len(cut.dependent) == 2
    assert {str(node.target) for node in cut.crossing if node.op == "get_attr"} == {
        "network.head.weight",
        "network.head.bias",
    }


def test_a_section_frees_what_nobody_reads_any_more():
    graph, layers = walked(Residual)
    module = graph.module
    assert isinstance(module, fx.GraphModule)
    cut = find_cut(module.graph, layers["layers.0.conv1"].drop_site)
    held = []
    values: dict[fx.Node, Any] = {cut.images: images_for(Residual)}
    wanted = (cut.site, *cut.crossing)
    GraphSection(module, cut.prefix, wanted).run(values, lambda now: held.append(len(now)))
    assert set(values) == set(wanted)
    GraphSection(module, cut.suffix, (cut.logits,)).run(values, lambda now: held.append(len(now)))
    assert set(values) == {cut.logits}


def test_flops_are_those_of_the_layers_behind():
    graph, layers = walked(Residual)
    behind = ("layers.0.conv2", "layers.1.conv1", "layers.1.conv2", "fc")
    assert rerun(graph, layers["layers.0.conv1"]).flops == sum(layers[name].info.flops for name in behind) > 0
    assert rerun(graph, layers["fc"]).flops == 0


def test_a_layer_without_neurons_and_a_neuron_that_is_not_there_are_refused():
    graph, layers = walked(Transformer)
    with pytest.raises(ValueError, match="no neuron dimension"):
        rerun(graph, layers["plain.softmax"])
    graph, layers = walked(Mlp)
    runner = rerun(graph, layers["0"])
    with pytest.raises(IndexError):
        runner.drop(runner.keep(images_for(Mlp)), [8])


def test_nothing_stays_behind():
    network = randomise(SharedWeights())
    state = {name: value.clone() for name, value in network.state_dict().items()}
    graph = walk(model_of(network), images_for(network))
    runner = rerun(graph, graph.layers[0])
    logits = runner.drop(runner.keep(images_for(network)), [0, 1])
    assert not logits.requires_grad
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("pair", "triple", "dependent", "expected"),
    [
        (torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.0], [1.0]]), True, Layout(0)),
        (torch.ones(2, 4), torch.ones(3, 4), False, Layout(0)),
        (torch.ones(4), torch.ones(4), False, None),
        (8, 12, False, PerImage(4)),
        (7, 7, False, None),
        (0.5, 0.5, False, None),
    ],
)
def test_how_values_grow_with_the_batch(pair: Any, triple: Any, dependent: bool, expected: Any):
    assert find_crossing(pair, triple, dependent) == expected


@pytest.mark.parametrize(
    ("pair", "triple"),
    [
        (torch.ones(4), torch.ones(4)),
        (torch.tensor([0, 1]), torch.tensor([0, 1, 2])),
        (3, 4),
        ((torch.ones(2),), (torch.ones(3),)),
    ],
    ids=["an image-dependent value of one size", "numbers of images", "one more than images", "several values"],
)
def test_values_whose_growth_is_unknown(pair: Any, triple: Any):
    with pytest.raises(Unstackable):
        find_crossing(pair, triple, True)


def test_choices_of_images():
    # Two repetitions around three images of two rows each: value 100 * repetition + 10 * image + row.
    value = torch.tensor([100 * outer + 10 * image + row for outer in (0, 1) for image in (0, 1, 2) for row in (0, 1)])
    twice = chosen(value, Layout(0, 2), 3, torch.tensor([2, 0, 2]))
    assert twice.tolist() == [20, 21, 0, 1, 20, 21, 120, 121, 100, 101, 120, 121]
    once = chosen(value, Layout(0, 2), 3, torch.arange(3))
    once[0] = 7
    assert value[0] == 0


@pytest.mark.parametrize(
    ("rows", "image_bytes", "limit_bytes", "expected"),
    [(64, 100, 100 * 16, 16), (65, 100, 100 * 64, 33), (64, 100, 10**9, 64), (64, 100, 1, 1)],
    ids=["four chunks' room", "evenly", "no more than there are", "at least one"],
)
def test_how_many_images_go_at_once(rows: int, image_bytes: int, limit_bytes: int, expected: int):
    assert stack_size(rows, image_bytes, limit_bytes) == expected


@pytest.mark.parametrize(
    ("network", "name"),
    [(Residual, "layers.0.conv1"), (Transformer, "patch"), (Numbered, "inner"), (DataDependent, "stem")],
)
def test_pairs_of_images_and_neurons_are_the_entries_of_the_whole_table(network: type[nn.Module], name: str):
    graph, layers = walked(network)
    runner = rerun(graph, layers[name])
    kept = runner.keep(images_for(network, COUNT, seed=2))
    fill = torch.tensor([0.5, 0.0, 2.0])
    table = runner.drop(kept, range(3), fill)
    rows, neurons = torch.tensor([4, 0, 4, 2, 4]), torch.tensor([2, 1, 2, 0, 0])
    pairs = runner.drop_pairs(kept, rows, neurons, fill[neurons])
    torch.testing.assert_close(pairs, table[neurons, rows], rtol=1e-5, atol=1e-5)


@pytest.mark.slow_except("Numbered", "DataDependent")
@pytest.mark.parametrize("network", [Residual, Transformer, Numbered, DataDependent])
def test_what_is_kept_for_several_layers_is_what_each_of_them_keeps(network: type[nn.Module]):
    graph, layers = walked(network)
    images = images_for(network, COUNT, seed=2)
    chosen_layers = [layer for layer in layers.values() if layer.info.neurons and layer.info.kind == "learnable"]
    runners = [rerun(graph, layer) for layer in chosen_layers]
    for runner, layer, kept in zip(runners, chosen_layers, Together(runners).keep(images), strict=True):
        alone = rerun(graph, layer)
        torch.testing.assert_close(runner.drop(kept, [0, 1]), alone.drop(alone.keep(images), [0, 1]))
        assert runner.stackable == alone.stackable


SLOW = (
    ("resnet18", 32, 2),
    ("densenet121", 64, 25),
    ("vit_tiny_patch16_224", 64, 8),
    ("swin_tiny_patch4_window7_224", 56, 12),
    ("mobilenetv3_small_100", 64, 11),
)


@pytest.mark.parametrize(
    ("name", "size", "every", "neurons", "count"),
    [(*entry, 8, 16) for entry in SLOW],
)
@pytest.mark.slow
def test_timm_models(name: str, size: int, every: int, neurons: int, count: int):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    arguments = {"img_size": size} if name.startswith(("vit", "swin")) else {}
    network = randomise(timm.create_model(name, pretrained=False, num_classes=10, **arguments))
    images = torch.rand((count, 3, size, size), generator=torch.Generator().manual_seed(1))
    graph = walk(model_of(network.requires_grad_(False)), images[:3])
    layers = [layer for layer in graph.layers if layer.info.neurons is not None]
    for layer in layers[::every]:
        runner = check(graph, layer, images, neurons)
        assert runner.exact_suffix, layer.info.name
        assert runner.stackable, layer.info.name
