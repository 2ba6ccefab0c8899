"""Nodal dropout against plain hooks that zero a channel in a whole forward."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from lsa_audit.graph.suffix import Suffix
from lsa_audit.graph.walker import walk
from lsa_audit.measurements import costs
from lsa_audit.measurements.costs import Plan, pass_cost, plan
from lsa_audit.measurements.dropout import LayerDropout, drop_all, first_layer
from lsa_audit.measurements.measures import verdicts
from lsa_audit.measurements.neuron_table import neuron_class, neuron_table
from lsa_audit.measurements.survey import Attacked, Survey

from .networks import hooked_outputs, pixels, small_model

SAMPLES, PASSES = 24, 5


@pytest.fixture(scope="module")
def scene():
    model = small_model()
    clean = pixels(SAMPLES, seed=1)
    adversarial = (clean + 0.1 * (pixels(SAMPLES, seed=2) - 0.5)).clamp(0, 1)
    with torch.no_grad():
        labels = model.module(clean).argmax(1)
    labels[::5] = (labels[::5] + 1) % 4
    return model, walk(model, clean[:3]), clean, adversarial, labels


def batches(clean, adversarial, labels, batch):
    return [
        Attacked(*(values[start : start + batch] for values in (clean, adversarial, labels)), start)
        for start in range(0, len(clean), batch)
    ]


def dropped(scene, drop_value="zero", batch=SAMPLES, allowance=None, name="conv1"):
    _, graph, clean, adversarial, labels = scene
    layer = next(layer for layer in graph.layers if layer.info.name == name)
    survey = Survey(graph, [layer], drop_value, len(clean))
    attacked = batches(clean, adversarial, labels, batch)
    if drop_value == "mean":
        for some in attacked:
            survey.reference(some.images)
    for some in attacked:
        survey.observe(some)
    dropout = LayerDropout(graph, layer, len(clean))
    dropout.prepare(survey, dropout.pairs if allowance is None else allowance, 0)
    done = []
    passes = drop_all([dropout], lambda: attacked, PASSES, done.append)
    assert passes == (1 if allowance is None else passes)
    assert sum(done) == dropout.measured.sum()
    return dropout, neuron_table(layer, dropout, survey, "x", drop_value, 0)


def dropped_logits(model, images, index, fill):
    """The model with one channel of bn1's output replaced, by a plain hook."""

    def set_channel(_module, _inputs, output):
        output = output.clone()
        output[:, index] = fill
        return output

    handle = model.module.network.bn1.register_forward_hook(set_channel)
    with torch.no_grad():
        logits = model.module(images)
    handle.remove()
    return logits


@pytest.mark.slow_for("zero-24")
@pytest.mark.parametrize("batch", [SAMPLES, 7])
@pytest.mark.parametrize("drop_value", ["zero", "mean"])
def test_every_figure_equals_the_obvious_version(scene, drop_value, batch):
    model, _, clean, adversarial, labels = scene
    _, table = dropped(scene, drop_value, batch)
    means = hooked_outputs(model, clean, ["bn1"])["bn1"].double().mean((0, 2, 3))
    assert table.site == "bn1 (the batch norm after conv1)"
    for neuron in table.neurons:
        fill = float(means[neuron.neuron_index]) if drop_value == "mean" else 0.0
        for images, effect in ((clean, neuron.clean), (adversarial, neuron.adversarial)):
            with torch.no_grad():
                whole = model.module(images)
            part = dropped_logits(model, images, neuron.neuron_index, fill)
            (before, margin), (after, without) = verdicts(whole, labels), verdicts(part, labels)
            assert effect.losses == int((before & ~after).sum())
            assert effect.gains == int((~before & after).sum())
            assert effect.accuracy_drop == pytest.approx((effect.losses - effect.gains) / SAMPLES)
            assert effect.margin_drop == pytest.approx(float((margin - without).mean()), abs=1e-5)
            exact = stats.binomtest(effect.losses, effect.losses + effect.gains or 1, alternative="greater").pvalue
            assert effect.p_value == pytest.approx(exact)
            assert effect.low <= effect.accuracy_drop <= effect.high
            assert effect.measured == SAMPLES


def test_targeting_score_and_correlations_equal_the_definitions(scene):
    model, _, clean, adversarial, _ = scene
    _, table = dropped(scene)
    before, after = (
        hooked_outputs(model, images, ["bn1"])["bn1"].double().flatten(2) for images in (clean, adversarial)
    )
    expected = ((after - before).norm(dim=2) / before.norm(dim=2)).mean(0)
    assert [neuron.targeting_score for neuron in table.neurons] == pytest.approx(expected.tolist(), rel=1e-5)
    for name, side in (("margin_drop", "clean"), ("adversarial_margin_drop", "adversarial")):
        found = next(entry for entry in table.correlations if entry.between == (name, "targeting_score"))
        drops = [getattr(neuron, side).margin_drop for neuron in table.neurons]
        assert found.rho == pytest.approx(stats.spearmanr(drops, expected).statistic)


@pytest.mark.parametrize(
    ("changed", "p_adjusted", "expected"),
    [(0, 1.0, "null"), (0.4, 1.0, "null"), (9, 0.049, "fragile"), (9, 0.05, "robust"), (1, 1.0, "robust")],
)
def test_classes_of_neurons(changed, p_adjusted, expected):
    assert neuron_class(changed, p_adjusted) == expected


def carrying():
    """A network in which channel 2 alone carries the class 1."""
    model = small_model()
    network = model.module.network
    with torch.no_grad():
        network.conv2.weight.zero_()
        network.conv2.bias.zero_()
        network.fc.weight.zero_()
        network.fc.weight[1, 2] = 10.0
        network.fc.bias.copy_(torch.tensor([0.1, 0.0, 0.0, 0.0]))
        network.bn1.bias[2] = 3.0
    clean = pixels(SAMPLES, seed=4)
    return model, walk(model, clean[:3]), clean, clean, torch.ones(SAMPLES, dtype=torch.long)


def test_a_channel_that_carries_a_class_is_found_fragile_and_an_unused_one_null():
    scene = carrying()
    assert first_layer(scene[1].layers).info.name == "conv1"
    _, table = dropped(scene)
    classes = [neuron.clean.neuron_class for neuron in table.neurons]
    assert classes == ["null", "null", "fragile", "null", "null", "null"]
    assert table.neurons[2].clean.accuracy_drop == 1.0
    assert table.neurons[2].clean.p_adjusted == pytest.approx(6 * 2**-SAMPLES)
    assert table.fragile_share == pytest.approx(1 / 6)
    assert table.gini == pytest.approx(5 / 6)


def test_within_an_allowance_figures_of_measured_pairs_are_exact_and_the_rest_is_estimated(scene):
    whole, expected = dropped(scene)
    for allowance in (0, 40, 150, whole.pairs - 1):
        part, table = dropped(scene, batch=7, allowance=allowance)
        assert part.measured.sum() <= allowance
        np.testing.assert_allclose(part.margin[part.measured], whole.margin[part.measured], rtol=1e-5, atol=1e-5)
        for found, exact in zip(table.neurons, expected.neurons, strict=True):
            assert found.clean.low <= exact.clean.accuracy_drop <= found.clean.high
            if found.clean.measured == SAMPLES:
                assert (found.clean.losses, found.clean.gains) == (exact.clean.losses, exact.clean.gains)


def test_within_an_allowance_the_carrying_channel_is_still_found():
    part, table = dropped(carrying(), allowance=120)
    assert part.measured.sum() <= 120
    assert [neuron.neuron_index for neuron in table.neurons if neuron.clean.neuron_class == "fragile"] == [2]


def test_layers_are_measured_together_as_alone(scene):
    _, graph, clean, adversarial, labels = scene
    layers = [layer for layer in graph.layers if layer.info.name in ("conv1", "conv2", "fc")]
    survey = Survey(graph, layers, "zero", SAMPLES)
    attacked = batches(clean, adversarial, labels, 7)
    for some in attacked:
        survey.observe(some)
    dropouts = [LayerDropout(graph, layer, SAMPLES) for layer in layers]
    for dropout, share in zip(dropouts, (0.5, 1.0, 0.3), strict=True):
        dropout.prepare(survey, int(share * dropout.pairs), 0)
    drop_all(dropouts, lambda: attacked, PASSES, lambda _: None)
    for layer, dropout, share in zip(layers, dropouts, (0.5, 1.0, 0.3), strict=True):
        _, alone = dropped(scene, batch=7, allowance=int(share * dropout.pairs), name=layer.info.name)
        assert neuron_table(layer, dropout, survey, "x", "zero", 0) == alone


def planned_layer(share, pairs=10_000, *, graph=True):
    return SimpleNamespace(pairs=pairs, share=share, rerun=SimpleNamespace(exact_suffix=graph))


def test_a_budget_is_kept():
    """Two layers, one of which costs next to nothing behind it."""
    layers = [planned_layer(0.9), planned_layer(0.001)]
    everything = Plan((10_000, 10_000), 1, (range(2),))
    assert plan(layers, None, 50) == plan(layers, 1000.0, 50) == everything
    for budget in (0.5, 6.0, 30.0, 100.0, 180.0):
        found = plan(layers, budget, 50)
        spent = found.allowances[0] * 0.9 + found.allowances[1] * 0.001 + found.passes * pass_cost(layers, 50)
        assert spent <= max(budget * 50, 2 * 50)
        assert 1 <= found.passes <= 8
        if budget >= 6:
            assert spent >= 0.98 * budget * 50
            assert found.allowances[1] == 10_000


def test_a_model_without_a_graph_runs_nothing_before_its_layers():
    layers = [planned_layer(1.0, graph=False)]
    assert pass_cost(layers, 50) == 0
    assert plan(layers, 30.0, 50).allowances == (1500,)


def test_layers_of_many_pairs_share_no_passes(monkeypatch):
    monkeypatch.setattr(costs, "GROUP_PAIRS", 25_000)
    layers = [planned_layer(0.5), planned_layer(0.5), planned_layer(0.5), planned_layer(0.5, pairs=40_000)]
    found = plan(layers, None, 50)
    assert found.groups == (range(2), range(2, 3), range(3, 4))
    limited = plan(layers, 60.0, 50)
    spent = sum(limited.allowances) * 0.5 + limited.passes * 3 * pass_cost(layers, 50)
    assert 0.98 * 60 * 50 <= spent <= 60 * 50


def test_a_layer_that_costs_nothing_behind_it_is_measured_whole_on_any_budget():
    assert plan([planned_layer(0.0)], 1.0, 50).allowances == (10_000,)


def test_whole_neurons_are_dropped_where_copies_cannot_be_stacked(scene, monkeypatch):
    monkeypatch.setattr(Suffix, "_probe", lambda self, images: False)
    dropout, table = dropped(scene, batch=7, allowance=150)
    clean, adversarial = (race.measured for race in dropout.races)
    for measured in (clean, adversarial):
        assert set(measured.sum(1)) == {0, SAMPLES}
        assert measured.sum() == 72
    assert dropout.ran >= dropout.measured.sum()
    _, exact = dropped(scene)
    for found, expected in zip(table.neurons, exact.neurons, strict=True):
        if found.clean.measured:
            assert (found.clean.losses, found.clean.gains) == (expected.clean.losses, expected.clean.gains)


def test_costs_are_counted_in_whole_forwards_of_an_image():
    tally = costs.Tally(12.0, samples=4)
    assert (tally.screening(0).spent, tally.screening(0).exact) == (0.0, 0.0)
    measured = np.array([[True, True, True, True], [True, False, False, False]])
    dropout = SimpleNamespace(measured=measured, ran=6, share=0.5, pairs=8, sampled=[0, 1])
    clean = [SimpleNamespace(estimated_margin_drop=drop, margin_drop=drop) for drop in (1.0, 2.0)]
    tally.add_passes(3, 2.0)
    tally.add(dropout, SimpleNamespace(neurons=[SimpleNamespace(clean=effect) for effect in clean]))
    found = tally.screening(0)
    assert (found.budget, found.spent, found.exact) == (12.0, (3 * 2.0 + 6 * 0.5) / 4, (2.0 + 8 * 0.5) / 4)
    assert (found.neurons, found.neurons_measured, found.pairs, found.pairs_measured) == (2, 1, 8, 5)


def test_a_layer_without_neurons_is_refused(scene):
    layer = scene[1].layers[0]
    unknown = replace(layer, info=layer.info.model_copy(update={"neurons": None}))
    with pytest.raises(ValueError, match="no neuron dimension"):
        LayerDropout(scene[1], unknown, SAMPLES)
