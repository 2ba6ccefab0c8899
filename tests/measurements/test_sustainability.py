"""Layer sustainability against ten-line references with plain hooks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from lsa_audit.graph.walker import walk
from lsa_audit.measurements.sustainability import SustainabilityProbe
from lsa_audit.stats.statistics import pool_layers

from .networks import hooked_outputs, pixels, small_model

NAMES = ["conv1", "conv2", "fc"]


def reference(model, clean, perturbed):
    """Per-image ratios [L, N] and whole-batch ratios [L], as written down in the paper."""
    before, after = hooked_outputs(model, clean, NAMES), hooked_outputs(model, perturbed, NAMES)
    ratios, whole = [], []
    for name in NAMES:
        difference = (before[name] - after[name]).double().flatten(1)
        plain = before[name].double().flatten(1)
        ratios.append((difference.norm(dim=1) / plain.norm(dim=1)).numpy())
        whole.append(float(difference.norm() / plain.norm()))
    return np.array(ratios), np.array(whole)


def measured(measure, batch_size=7, parts=(0, 10)):
    model = small_model()
    clean = pixels(10, seed=1)
    perturbed = {"a": (clean + 0.05 * (pixels(10, 2) - 0.5)).clamp(0, 1), "b": pixels(10, seed=3)}
    graph = walk(model, clean[:3])
    layers = [layer for layer in graph.layers if layer.info.name in NAMES]
    probe = SustainabilityProbe(graph, layers, ["a", "b"], measure, samples=10)
    for start, stop in pairwise(parts):
        probe.observe(clean[start:stop], {name: images[start:stop] for name, images in perturbed.items()}, batch_size)
    return model, clean, perturbed, probe


def test_the_mean_of_per_image_ratios_equals_the_reference():
    model, clean, perturbed, probe = measured("relative-error")
    for result in probe.results(eta=0.8, seed=0):
        ratios, _ = reference(model, clean, perturbed[result.perturbation])
        assert [layer.layer for layer in result.layers] == NAMES
        assert [layer.mean for layer in result.layers] == pytest.approx(ratios.mean(1), rel=1e-6)
        assert [layer.std for layer in result.layers] == pytest.approx(ratios.std(1), rel=1e-5)
        assert result.mu == pytest.approx(ratios.mean(), rel=1e-6)
        assert result.sigma == pytest.approx(ratios.std(), rel=1e-6)
        pooled = pool_layers(ratios, 0.8, 0)
        order = sorted(range(3), key=lambda index: -ratios[index].mean())
        assert list(result.mvl) == [NAMES[index] for index in order if pooled.selected[index]]
        assert result.highest == NAMES[order[0]]


def test_the_whole_batch_ratio_equals_the_reference():
    model, clean, perturbed, probe = measured("batch-relative-error")
    for result in probe.results(eta=0.8, seed=0):
        _, whole = reference(model, clean, perturbed[result.perturbation])
        assert [layer.mean for layer in result.layers] == pytest.approx(whole, rel=1e-6)
        assert result.mu == pytest.approx(whole.mean(), rel=1e-6)
        assert result.sigma == pytest.approx(whole.std(), rel=1e-6)
        assert all(layer.low is None and layer.mvl_share is None for layer in result.layers)


def test_lipschitz_estimate_and_amplification():
    model, clean, perturbed, probe = measured("relative-error")
    result = probe.results(eta=0.8, seed=0)[0]
    before, after = hooked_outputs(model, clean, NAMES), hooked_outputs(model, perturbed["a"], NAMES)
    moved = (perturbed["a"] - clean).double().flatten(1).norm(dim=1)
    for layer in result.layers:
        difference = (before[layer.layer] - after[layer.layer]).double().flatten(1).norm(dim=1)
        assert layer.lipschitz == pytest.approx(float((difference / moved).mean()), rel=1e-5)
    means = [result.input_mean, *(layer.mean for layer in result.layers)]
    ratios = [later / earlier for earlier, later in pairwise(means)]
    assert [layer.amplification for layer in result.layers] == pytest.approx(ratios, rel=1e-9)


@pytest.mark.slow_for("relative-error")
@pytest.mark.parametrize("measure", ["relative-error", "l2", "linf", "cosine", "batch-relative-error"])
def test_batches_do_not_change_the_figures(measure):
    _, _, _, whole = measured(measure, batch_size=100)
    _, _, _, parts = measured(measure, batch_size=2, parts=(0, 4, 5, 10))
    for one, other in zip(whole.results(0.8, 0), parts.results(0.8, 0), strict=True):
        # A difference of two nearly equal activations keeps few digits, and kernels round by batch size and threads.
        assert [layer.mean for layer in one.layers] == pytest.approx(
            [layer.mean for layer in other.layers], rel=1e-4, abs=1e-7
        )


def test_an_empty_list_names_the_highest_layer():
    _, _, _, probe = measured("relative-error")
    result = probe.results(eta=50, seed=0)[0]
    assert result.mvl == ()
    assert result.highest in NAMES


def test_the_probe_keeps_no_activations():
    _, _, _, probe = measured("relative-error")
    kept = [value for value in vars(probe).values() if isinstance(value, torch.Tensor)]
    assert kept == []
    assert probe.values.shape == (2, 3, 10)
