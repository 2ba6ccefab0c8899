"""Activation patching against plain hooks, and on networks in which the answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph import taps
from lsa_audit.graph.base import Graph
from lsa_audit.graph.walker import walk
from lsa_audit.measurements.patching import NeuronGroup, PatchingProbe, groups_of
from lsa_audit.models.base import Model, PixelModel, Preprocessing
from lsa_audit.records import DropEffect, Neuron, NeuronClass, NeuronTable, Patching
from lsa_audit.stats.statistics import estimate

from .networks import pixels, small_model

NAMES = ["conv1", "conv2", "fc"]
COUNT = 40


class Branches(nn.Module):
    """`used` carries the first pixel to the verdict, above all by its first neuron; `idle` changes no verdict."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(4, 2)
        self.idle = nn.Linear(4, 2)
        with torch.no_grad():
            self.used.weight.copy_(torch.tensor([[8.0, 0, 0, 0], [-4.0, 0, 0, 0]]))
            self.used.bias.copy_(torch.tensor([-4.0, 2.0]))
            self.idle.weight.copy_(torch.tensor([[0.0, 0, 0, 0], [0.1, 0, 0, 0]]))
            self.idle.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.used(x)) + torch.relu(self.idle(x))


def walked(network: nn.Module, images: Tensor) -> Graph:
    preprocessing = Preprocessing(mean=(0.0,), std=(1.0,))
    model = Model("own", "module", "own", "fixed", PixelModel(network, preprocessing).eval(), preprocessing)
    return walk(model, images[:3])


def probed(
    graph: Graph,
    batch: tuple[Tensor, Tensor, Tensor],
    names: Sequence[str],
    groups: dict[str, list[NeuronGroup]] | None = None,
    parts: Sequence[int] = (),
) -> Patching | None:
    layers = [layer for layer in graph.layers if layer.info.name in names]
    probe = PatchingProbe(graph, layers, groups or {}, "pgd@linf-0.1")
    for start, stop in pairwise([0, *parts, len(batch[0])]):
        probe.observe(*(part[start:stop] for part in batch))
    return probe.result({name: 0.1 * place for place, name in enumerate(names)}, seed=0)


def balanced_model() -> Model:
    """The small one, with a bias under which it tells images of other colours apart."""
    model = small_model()
    with torch.no_grad():
        model.module.network.fc.bias -= model.module(tinted(1)).mean(0)
    return model


def tinted(seed: int) -> Tensor:
    """Images [COUNT, 3, 8, 8], each with some of its colours taken out."""
    kept = torch.rand((COUNT, 3, 1, 1), generator=torch.Generator().manual_seed(seed)).round()
    return pixels(COUNT, seed) * kept


def attacked_batch(model: Model) -> tuple[Tensor, Tensor, Tensor]:
    """Images, other images as their attacked versions, and labels of which a third is wrong on the clean image."""
    images, adversarial = tinted(1), tinted(2)
    with torch.no_grad():
        labels = model.module(images).argmax(1)
    labels[::3] = (labels[::3] + 1) % 4
    return images, adversarial, labels


GROUPS = {
    "conv1": [NeuronGroup("random", (0, 4)), NeuronGroup("least-targeted", (1, 2))],
    "conv2": [NeuronGroup("random", (5, 3))],
}


def hooked_right(model: Model, batch: tuple[Tensor, Tensor, Tensor], site: str, neurons: Sequence[int]) -> Tensor:
    """Which images [n] are right again when these channels of a module's output are the clean ones; plain hooks."""
    module = model.module.network.get_submodule(site)
    seen: list[Tensor] = []

    def write(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[:, list(neurons)] = seen[0][:, list(neurons)]
        return changed

    images, adversarial, labels = batch
    with torch.no_grad():
        handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.clone()))
        model.module(images)
        handle.remove()
        handle = module.register_forward_hook(write)
        logits = model.module(adversarial)
        handle.remove()
    return logits.argmax(1) == labels


def test_shares_are_those_of_plain_hooks():
    model = balanced_model()
    batch = attacked_batch(model)
    graph = walk(model, batch[0][:3])
    with torch.no_grad():
        clean, attacked = (model.module(images).argmax(1) == batch[2] for images in batch[:2])
    lost = clean & ~attacked
    result = probed(graph, batch, NAMES, GROUPS)
    assert result is not None
    assert result.lost == int(lost.sum()) > 5
    sites = {"conv1": ("bn1", 6), "conv2": ("conv2", 6), "fc": ("fc", 4)}
    for layer in result.layers:
        site, total = sites[layer.layer]
        again = hooked_right(model, batch, site, range(total))
        assert layer.returned == estimate(int((again & lost).sum()), result.lost)
        listed = GROUPS.get(layer.layer, [])
        assert [(part.group, part.neurons) for part in layer.groups] == [(one.group, 2) for one in listed]
        for part, one in zip(layer.groups, listed, strict=True):
            again = hooked_right(model, batch, site, one.neurons)
            assert part.returned == estimate(int((again & lost).sum()), result.lost)
    assert len({part.returned.count for layer in result.layers for part in (layer, *layer.groups)}) >= 4


def test_layers_on_every_path_are_whole_and_not_compared():
    model = balanced_model()
    batch = attacked_batch(model)
    result = probed(walk(model, batch[0][:3]), batch, NAMES)
    assert result is not None
    assert {layer.layer: layer.whole for layer in result.layers} == {"conv1": True, "conv2": False, "fc": True}
    assert all(layer.returned.value == 1 for layer in result.layers if layer.whole)
    assert result.correlation.between == ("returned", "relative_error")
    assert result.correlation.count == 1
    assert result.correlation.rho is None


@pytest.mark.slow
def test_the_branch_that_carries_the_attack_is_told_from_the_one_that_does_not():
    images = torch.rand((20, 4), generator=torch.Generator().manual_seed(0))
    images[:, 0] = 0.9
    adversarial = images.clone()
    adversarial[:, 0] = 0.1
    graph = walked(Branches(), images)
    fragile = {"used": [NeuronGroup("fragile", (0,)), NeuronGroup("least-targeted", (1,))]}
    result = probed(graph, (images, adversarial, torch.zeros(20, dtype=torch.long)), ["used", "idle"], fragile)
    assert result is not None
    used, idle = result.layers
    assert (result.lost, used.returned.value, idle.returned.value) == (20, 1.0, 0.0)
    # The idle branch still differs, so not even `used` gives the clean logits.
    assert not used.whole
    assert not idle.whole
    # Of [3.2, 0] when clean and [0, 1.6] when attacked, the first neuron brings the verdict back, the second does not.
    assert [part.returned.count for part in used.groups] == [20, 0]


def test_batches_do_not_change_the_figures():
    model = balanced_model()
    batch = attacked_batch(model)
    graph = walk(model, batch[0][:3])
    whole = probed(graph, batch, NAMES, GROUPS)
    assert whole == probed(graph, batch, NAMES, GROUPS, parts=(1, 8, 9, 30))
    assert whole == probed(graph, batch, NAMES, GROUPS)


def test_images_that_are_not_lost_cost_no_patch(monkeypatch):
    model = balanced_model()
    images, _, labels = attacked_batch(model)
    graph = walk(model, images[:3])
    monkeypatch.setattr("lsa_audit.graph.patching.Lockstep.run", lambda *_: pytest.fail("patched"))
    assert probed(graph, (images, images, labels), NAMES) is None
    wrong = (labels + 1) % 4
    right = slice(1, None, 3)
    assert probed(graph, (images[right], 1 - images[right], wrong[right]), NAMES) is None


def test_without_layers_there_is_no_result():
    model = balanced_model()
    batch = attacked_batch(model)
    assert probed(walk(model, batch[0][:3]), batch, []) is None


def test_logits_that_are_not_finite_are_wrong():
    model = balanced_model()
    images, _, labels = attacked_batch(model)
    broken = torch.full_like(images, float("nan"))
    graph = walk(model, images[:3])
    with torch.no_grad():
        clean = model.module(images).argmax(1) == labels
        assert bool(taps.run(graph, broken, {}).isnan().all())
    result = probed(graph, (images, broken, torch.where(clean, labels, 0)), NAMES)
    assert result is not None
    assert result.lost >= int(clean.sum())
    conv1, conv2, fc = result.layers
    assert conv1.whole
    assert fc.whole
    # The other branch is still NaN.
    assert (conv2.returned.count, conv2.whole) == (0, False)


def effect(kind: NeuronClass) -> DropEffect:
    return DropEffect(
        neuron_class=kind,
        measured=8,
        losses=0,
        gains=0,
        accuracy_drop=0,
        low=0,
        high=0,
        margin_drop=0,
        estimated_margin_drop=None,
        p_value=1,
        p_adjusted=1,
    )


def table(scores: Sequence[float | None], fragile: Sequence[int]) -> NeuronTable:
    neurons = [
        Neuron(
            neuron_index=index,
            clean=effect("fragile" if index in fragile else "robust"),
            adversarial=effect("null"),
            targeting_score=score,
        )
        for index, score in enumerate(scores)
    ]
    return NeuronTable(
        layer="conv1",
        site="conv1",
        drop_value="zero",
        perturbation="pgd@linf-0.1",
        samples=8,
        neurons=tuple(neurons),
        gini=None,
        correlations=(),
    )


def test_groups_have_the_size_of_the_fragile_one():
    scores = [0.5, None, 0.9, 0.1, 0.9, 0.2, None, 0.3]
    groups = {one.group: one.neurons for one in groups_of(table(scores, [6, 3]), seed=0)}
    assert groups["fragile"] == (3, 6)
    assert groups["most-targeted"] == (2, 4)
    assert set(groups["least-targeted"]) == {3, 5}
    assert len(set(groups["random"])) == 2
    assert list(groups) == ["fragile", "most-targeted", "least-targeted", "random"]


def test_random_neurons_depend_on_the_seed_alone():
    drawn = [groups_of(table([0.1] * 64, []), seed=seed)[-1].neurons for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(set(neurons)) == 16 and set(neurons) <= set(range(64)) for neurons in drawn)


@pytest.mark.parametrize(
    ("scores", "fragile", "expected"),
    [
        ([0.1] * 8, [], {"most-targeted": 2, "least-targeted": 2, "random": 2}),
        ([0.1] * 3, [], {"most-targeted": 1, "least-targeted": 1, "random": 1}),
        ([None, None, 0.1], [0, 1], {"fragile": 2, "random": 2}),
        ([0.1] * 3, [0, 1, 2], {}),
        ([0.1], [], {}),
    ],
    ids=["a quarter", "at least one", "too few scores", "all fragile", "one neuron"],
)
def test_groups_that_can_be_formed(scores: list[float | None], fragile: list[int], expected: dict[str, int]):
    groups = groups_of(table(scores, fragile), seed=0)
    assert {one.group: len(one.neurons) for one in groups} == expected
