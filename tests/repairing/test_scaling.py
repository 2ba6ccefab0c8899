"""Scales from a table, folded into real weights: each neuron is multiplied by its own, for all its consumers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lsa_audit.errors import DataError
from lsa_audit.graph.walker import walk
from lsa_audit.models import fit, from_module
from lsa_audit.records.repair import Strengths
from lsa_audit.repairing.scaling import UNCHANGED, change, folds, scaled, without_logits

from ..hardening.weak import table

BOTH = Strengths(fragile=0.5, robust=0.2)
# Fragile, robust with some drop, robust without, null.
LOSSES, GAINS = [40, 1, 1, 0], [0, 0, 1, 0]
SCALES = [1.5, 1 - 0.2 * (1 - 1 / 40), 0.8, 1.0]


class Small(nn.Module):
    """A convolution with a batch norm behind it, one alone, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, images):
        first = self.bn1(self.conv1(images))
        second = self.conv2(torch.relu(first)) + first
        return self.fc(second.mean((2, 3)))


@pytest.fixture
def walked():
    torch.manual_seed(0)
    network = Small().eval()
    for name, values in network.bn1.named_buffers():
        if name != "num_batches_tracked":
            values.uniform_(0.5, 1.5)
    images = torch.rand(5, 1, 6, 6)
    model = fit(from_module(network, mean=None, std=None, input_shape=None), images)
    graph = walk(model, images[:3])
    return network, graph, images


def layers_of(graph, *names):
    found = {layer.info.name: layer for layer in graph.layers}
    return [found[name] for name in names]


def outputs(network, name, images):
    seen = []
    handle = network.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        network(images)
    handle.remove()
    return seen[0]


@pytest.mark.slow_except("conv1-bn1")
@pytest.mark.parametrize(("layer", "site"), [("conv1", "bn1"), ("conv2", "conv2")])
def test_each_neuron_is_multiplied_where_its_consumers_see_it(walked, layer, site):
    network, graph, images = walked
    before = outputs(network, site, images)
    chosen, skipped = folds(graph, layers_of(graph, layer), [table(layer, LOSSES, GAINS)])
    assert skipped == ()
    with scaled(chosen, BOTH):
        after = outputs(network, site, images)
    expected = before * torch.tensor(SCALES).view(1, 4, 1, 1)
    assert torch.allclose(after, expected, rtol=1e-5, atol=1e-6)
    assert chosen[0].describe(BOTH).scales == pytest.approx(SCALES)
    assert (chosen[0].describe(BOTH).fragile, chosen[0].describe(BOTH).robust) == (1, 2)


def test_weights_come_back_bit_by_bit_also_after_an_exception(walked):
    network, graph, _ = walked
    before = {name: value.clone() for name, value in network.state_dict().items()}
    chosen, _ = folds(
        graph, layers_of(graph, "conv1", "conv2"), [table(name, LOSSES, GAINS) for name in ("conv1", "conv2")]
    )

    def fail():
        with scaled(chosen, Strengths(fragile=0.1, robust=0.3)):
            assert not torch.equal(network.bn1.weight, before["bn1.weight"])
            assert not torch.equal(network.conv2.bias, before["conv2.bias"])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.slow
def test_the_unchanged_strengths_change_nothing(walked):
    network, graph, images = walked
    chosen, _ = folds(graph, layers_of(graph, "conv2"), [table("conv2", LOSSES, GAINS)])
    with torch.no_grad(), scaled(chosen, UNCHANGED):
        inside = network(images)
    with torch.no_grad():
        assert torch.equal(network(images), inside)
    assert change(chosen, UNCHANGED) == 0
    assert change(chosen, BOTH) == pytest.approx(sum(abs(scale - 1) for scale in SCALES) / 4)
    assert change([], BOTH) == 0


@pytest.mark.slow
def test_robust_neurons_without_any_drop_are_all_scaled_down_in_full(walked):
    _, graph, _ = walked
    chosen, _ = folds(graph, layers_of(graph, "conv2"), [table("conv2", [1, 1, 1, 0], [1, 2, 1, 0])])
    assert chosen[0].scales(BOTH).tolist() == pytest.approx([0.8, 0.8, 0.8, 1.0])


def test_two_layers_with_the_same_neurons_are_scaled_once(walked):
    _, graph, _ = walked
    chosen, skipped = folds(
        graph, layers_of(graph, "conv1", "bn1"), [table(name, LOSSES, GAINS) for name in ("conv1", "bn1")]
    )
    assert [entry.table.layer for entry in chosen] == ["conv1"]
    assert [(entry.what, entry.reason) for entry in skipped] == [("repair of bn1", "same-neurons")]


def test_what_no_weight_scales_is_told():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)
            self.bn = nn.BatchNorm2d(4, affine=False)
            self.fc = nn.Linear(4, 3)

        def forward(self, images):
            return self.fc(torch.relu(self.bn(self.conv(images))).mean((2, 3)))

    images = torch.rand(5, 1, 6, 6)
    model = fit(from_module(Plain().eval(), mean=None, std=None, input_shape=None), images)
    graph = walk(model, images[:3])
    chosen, skipped = folds(graph, layers_of(graph, "conv"), [table("conv", LOSSES, GAINS)])
    assert chosen == ()
    assert skipped[0].reason == "not-foldable"


@pytest.mark.slow_for("2.0")
@pytest.mark.parametrize("drop", [float("nan"), 2.0, float("-inf")])
def test_a_drop_that_is_none_is_refused(walked, drop):
    _, graph, _ = walked
    found = table("conv2", LOSSES, GAINS)
    clean = found.neurons[0].clean.model_copy(update={"accuracy_drop": drop})
    broken = (found.neurons[0].model_copy(update={"clean": clean}), *found.neurons[1:])
    with pytest.raises(DataError, match="does not fit"):
        folds(graph, layers_of(graph, "conv2"), [found.model_copy(update={"neurons": broken})])


@pytest.mark.slow
def test_the_logits_are_left_alone(walked):
    _, graph, _ = walked
    asked = layers_of(graph, "conv1", "fc")
    kept, skipped = without_logits(graph, asked, 3)
    assert [layer.info.name for layer in kept] == ["conv1"]
    assert [(entry.what, entry.reason) for entry in skipped] == [("repair of fc", "output-layer")]
    # A last layer with other neurons than the logits is one like the others.
    assert without_logits(graph, asked, 7) == (asked, ())
