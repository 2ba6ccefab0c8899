"""The survey of all neurons against one neuron at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lsa_audit.graph import taps
from lsa_audit.graph.walker import walk
from lsa_audit.measurements.measures import verdicts
from lsa_audit.measurements.survey import Attacked, Survey
from tests.graph.networks import DataDependent, Transformer, images_for, model_of

from .networks import pixels, small_model

COUNT = 6


def surveyed(model, clean, adversarial, labels, drop_value="zero", batch=COUNT):
    graph = walk(model, clean[:3])
    layers = [layer for layer in graph.layers if layer.info.kind == "learnable" and layer.info.neurons]
    survey = Survey(graph, layers, drop_value, len(clean))
    parts = [
        Attacked(*(values[start : start + batch] for values in (clean, adversarial, labels)), start)
        for start in range(0, len(clean), batch)
    ]
    for part in parts:
        survey.reference(part.images)
    for part in parts:
        survey.observe(part)
    return graph, layers, survey


def numerical(graph, layer, images, labels, neuron, fill):
    """The slope of the margin when a neuron goes a small step from its activation towards the fill."""

    def margin(step):
        def move(value):
            moved = value.clone()
            own = moved.select(layer.info.neuron_dim, neuron)
            own += step * (fill - own)
            return moved

        with torch.no_grad():
            logits = taps.run(graph, images, {layer.info.name: move}, at="drop_site")
        return verdicts(logits.double(), labels)[1]

    return (margin(2e-3) - margin(-2e-3)) / 4e-3


@pytest.mark.slow_except("small-zero")
@pytest.mark.parametrize("drop_value", ["zero", "mean"])
@pytest.mark.parametrize("network", [None, Transformer, DataDependent], ids=["small", "tokens", "hooks"])
def test_estimates_are_the_slopes_of_the_margin(network, drop_value):
    if network is None:
        model, clean = small_model(), pixels(COUNT, seed=1)
        adversarial = (clean + 0.1 * (pixels(COUNT, seed=2) - 0.5)).clamp(0, 1)
    else:
        model, clean = model_of(network()), images_for(network, COUNT)
        adversarial = images_for(network, COUNT, seed=3)
    with torch.no_grad():
        labels = model.module(clean).argmax(1)
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    graph, layers, survey = surveyed(model, clean, adversarial, labels, drop_value, batch=4)
    for layer in layers[:4]:
        fill = survey.fill(layer.info.name)
        for side, images in ((slice(0, COUNT), clean), (slice(COUNT, None), adversarial)):
            for neuron in range(min(3, layer.info.neurons)):
                slope = numerical(graph, layer, images, labels, neuron, float(fill[neuron]))
                found = survey.changes(layer.info.name)[neuron, side]
                np.testing.assert_allclose(found, slope.numpy(), rtol=0.05, atol=2e-3)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.module.state_dict().items())
    assert all(parameter.grad is None for parameter in model.module.parameters())


def test_verdicts_and_figures_do_not_depend_on_the_batch():
    model, clean = small_model(), pixels(COUNT, seed=1)
    adversarial, labels = pixels(COUNT, seed=2), torch.arange(COUNT) % 4
    _, layers, one = surveyed(model, clean, adversarial, labels)
    _, _, other = surveyed(model, clean, adversarial, labels, batch=2)
    with torch.no_grad():
        right, margin = verdicts(model.module(torch.cat([clean, adversarial])), labels.repeat(2))
    assert one.right.tolist() == other.right.tolist() == right.tolist()
    np.testing.assert_allclose(one.margin, margin.numpy(), rtol=1e-5)
    for layer in layers:
        name = layer.info.name
        np.testing.assert_allclose(one.changes(name), other.changes(name), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.targeting_scores(name), other.targeting_scores(name), rtol=1e-6)


@pytest.mark.slow
def test_a_neuron_that_is_always_silent_has_no_targeting_score():
    model, clean = small_model(), pixels(COUNT, seed=1)
    with torch.no_grad():
        model.module.network.bn1.weight[1] = 0.0
        model.module.network.bn1.bias[1] = 0.0
    _, _, survey = surveyed(model, clean, clean, torch.zeros(COUNT, dtype=torch.long))
    assert np.isnan(survey.targeting_scores("conv1")).tolist() == [False, True, False, False, False, False]


def test_a_layer_that_no_gradient_reaches_has_no_estimate():
    model, clean = small_model(), pixels(COUNT, seed=1)
    with torch.no_grad():
        model.module.network.fc.weight.zero_()
    _, _, survey = surveyed(model, clean, clean, torch.zeros(COUNT, dtype=torch.long))
    assert (survey.changes("conv1") == 0).all()


class Detached(nn.Module):
    """Its logits have no gradient."""

    shape = (6,)

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.relu(self.first(x))).detach()


def test_logits_without_a_gradient_give_no_estimate_but_all_else():
    clean, adversarial = (images_for(Detached, COUNT, seed=seed) for seed in (1, 2))
    _, _, survey = surveyed(model_of(Detached()), clean, adversarial, torch.zeros(COUNT, dtype=torch.long))
    assert np.isnan(survey.changes("first")).all()
    assert np.isfinite(survey.targeting_scores("first")).any()
    assert survey.margin.all()


def test_margin_is_positive_exactly_where_the_model_is_right():
    logits = torch.tensor(np.random.default_rng(0).normal(size=(50, 5)))
    labels = torch.arange(50) % 5
    right, margin = verdicts(logits, labels)
    assert torch.equal(margin > 0, right)
    assert torch.equal(right, logits.argmax(1) == labels)


def test_an_image_with_a_logit_that_is_not_finite_is_wrong():
    logits = torch.tensor([[1.0, float("nan")], [float("inf"), 0.0], [1.0, 0.0]])
    assert verdicts(logits, torch.zeros(3, dtype=torch.long))[0].tolist() == [False, False, True]
