"""Nodal dropout against plain hooks that zero a channel in a whole forward."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from lsa_audit.graph.walker import walk
from lsa_audit.probes.dropout import DropoutProbe, first_layer, neuron_class, true_class_margin

from .networks import hooked_outputs, pixels, small_model


@pytest.fixture(scope="module")
def scene():
    model = small_model()
    clean = pixels(24, seed=1)
    adversarial = (clean + 0.1 * (pixels(24, seed=2) - 0.5)).clamp(0, 1)
    with torch.no_grad():
        labels = model.module(clean).argmax(1)
    labels[::5] = (labels[::5] + 1) % 4
    return model, walk(model, clean[:3]), clean, adversarial, labels


def probed(scene, drop_value="zero", batch=24):
    _, graph, clean, adversarial, labels = scene
    layer = next(layer for layer in graph.layers if layer.info.name == "conv1")
    probe = DropoutProbe(graph, layer, drop_value, samples=24)
    if drop_value == "mean":
        for start in range(0, 24, batch):
            probe.reference(clean[start : start + batch])
    for start in range(0, 24, batch):
        part = slice(start, start + batch)
        probe.observe(clean[part], adversarial[part], labels[part])
    return probe


def dropped_logits(model, images, index, fill):
    """The model with one channel of bn1's output replaced, by a plain hook."""

    def replace(_module, _inputs, output):
        output = output.clone()
        output[:, index] = fill
        return output

    handle = model.module.network.bn1.register_forward_hook(replace)
    with torch.no_grad():
        logits = model.module(images)
    handle.remove()
    return logits


@pytest.mark.parametrize("batch", [24, 7])
@pytest.mark.parametrize("drop_value", ["zero", "mean"])
def test_every_figure_equals_the_obvious_version(scene, drop_value, batch):
    model, _, clean, adversarial, labels = scene
    table = probed(scene, drop_value, batch).result("x", seed=0)
    means = hooked_outputs(model, clean, ["bn1"])["bn1"].double().mean((0, 2, 3))
    assert table.site == "bn1 (the batch norm after conv1)"
    for neuron in table.neurons:
        fill = float(means[neuron.neuron_index]) if drop_value == "mean" else 0.0
        for images, accuracy_drop, margin_drop in (
            (clean, neuron.accuracy_drop, neuron.margin_drop),
            (adversarial, neuron.adversarial_accuracy_drop, neuron.adversarial_margin_drop),
        ):
            with torch.no_grad():
                whole = model.module(images)
            part = dropped_logits(model, images, neuron.neuron_index, fill)
            expected = ((whole.argmax(1) == labels).float() - (part.argmax(1) == labels).float()).mean()
            assert accuracy_drop == pytest.approx(float(expected), abs=1e-7)
            margins = true_class_margin(whole, labels) - true_class_margin(part, labels)
            assert margin_drop == pytest.approx(float(margins.mean()), abs=1e-5)


def test_targeting_score_and_correlations_equal_the_definitions(scene):
    model, _, clean, adversarial, _ = scene
    table = probed(scene).result("x", seed=0)
    before, after = (
        hooked_outputs(model, images, ["bn1"])["bn1"].double().flatten(2) for images in (clean, adversarial)
    )
    expected = ((after - before).norm(dim=2) / before.norm(dim=2)).mean(0)
    assert [neuron.targeting_score for neuron in table.neurons] == pytest.approx(expected.tolist(), rel=1e-5)
    by_margin = next(entry for entry in table.correlations if entry.between[0] == "margin_drop")
    rho = stats.spearmanr([neuron.margin_drop for neuron in table.neurons], expected).statistic
    assert by_margin.rho == pytest.approx(rho)


@pytest.mark.parametrize(
    ("changed", "p_adjusted", "expected"),
    [(0, 1.0, "null"), (9, 0.049, "fragile"), (9, 0.05, "robust"), (1, 1.0, "robust")],
)
def test_classes_of_neurons(changed, p_adjusted, expected):
    assert neuron_class(changed, p_adjusted) == expected


def test_a_channel_that_carries_a_class_is_found_fragile_and_an_unused_one_null():
    model = small_model()
    network = model.module.network
    with torch.no_grad():
        network.conv2.weight.zero_()
        network.conv2.bias.zero_()
        network.fc.weight.zero_()
        network.fc.weight[1, 2] = 10.0
        network.fc.bias.copy_(torch.tensor([0.1, 0.0, 0.0, 0.0]))
        network.bn1.bias[2] = 3.0
    clean = pixels(24, seed=4)
    labels = torch.ones(24, dtype=torch.long)
    graph = walk(model, clean[:3])
    layer = first_layer(graph.layers)
    probe = DropoutProbe(graph, layer, "zero", samples=24)
    probe.observe(clean, clean, labels)
    table = probe.result("x", seed=0)
    assert [neuron.neuron_class for neuron in table.neurons] == ["null", "null", "fragile", "null", "null", "null"]
    assert table.neurons[2].accuracy_drop == 1.0
    assert table.neurons[2].p_adjusted == pytest.approx(6 * 2**-24)


def test_margin_is_positive_exactly_where_the_model_is_right():
    logits = torch.tensor(np.random.default_rng(0).normal(size=(50, 5)))
    labels = torch.arange(50) % 5
    assert torch.equal(true_class_margin(logits, labels) > 0, logits.argmax(1) == labels)
