"""Filtered models, their accuracies and scores are those of a slow and obvious version; nothing is left behind."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from torch import Tensor, nn

from lsa_audit.graph.base import Graph
from lsa_audit.graph.walker import walk
from lsa_audit.measurements import filters
from lsa_audit.measurements.filters import measure_filters, models_measured
from lsa_audit.models.base import Model
from lsa_audit.records import FilteredWeights, Filters

from .networks import pixels, small_model

COUNT = 24
LAYERS = ("conv1", "conv2", "fc")


def subject() -> tuple[Model, Graph, Tensor, Tensor]:
    """A model, its graph, images, and labels of which the model gets most right; a copy of its own."""
    return copy.deepcopy(made())


@functools.cache
def made() -> tuple[Model, Graph, Tensor, Tensor]:
    model = small_model()
    images = pixels(COUNT, 1)
    with torch.no_grad():
        model.module.network.fc.weight.mul_(4)
        model.module.network.fc.bias -= model.module(images).mean(0)
        labels = model.module(images).argmax(1)
    labels[::6] = (labels[::6] + 1) % 4
    return model, walk(model, images[:3]), images, labels


def batches_of(images: Tensor, labels: Tensor, size: int = 7) -> filters.Batches:
    def batches() -> Iterator[tuple[Tensor, Tensor, tuple[str, ...]]]:
        for start in range(0, len(images), size):
            rows = range(start, min(start + size, len(images)))
            yield images[rows], labels[rows], tuple(f"image-{row}" for row in rows)

    return batches


def fgsm(module: nn.Module, images: Tensor, labels: Tensor, epsilon: float = 0.02) -> Tensor:
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(module(images), labels, reduction="sum"), images)
    return (images + epsilon * gradient.sign()).clamp(0, 1).detach()


def measured(model: Model, graph: Graph, images: Tensor, labels: Tensor) -> Filters:
    found, skipped = measure_filters(
        graph,
        model.module,
        graph.layers,
        batches_of(images, labels),
        lambda some, theirs, ids: fgsm(model.module, some, theirs),
        "fgsm@linf-0.02",
        lambda count: None,
    )
    assert skipped == ()
    assert found is not None
    return found


@functools.cache
def shown() -> tuple[Model, Graph, Tensor, Tensor, dict[str, Tensor], Filters]:
    """A subject, its weights before the measurement, and what was measured; nobody changes them."""
    model, graph, images, labels = subject()
    before = copy.deepcopy(model.module.state_dict())
    return model, graph, images, labels, before, measured(model, graph, images, labels)


def numpy_filter(weights: np.ndarray, name: str, step: int) -> np.ndarray:
    low, high = float(weights.min()), float(weights.max())
    half = (high - low) / 50
    up, down = np.linspace(low, high, 25)[step], np.linspace(high, low, 25)[step]
    if name == "high-pass":
        removed = weights <= np.float32(up)
    elif name == "low-pass":
        removed = weights >= np.float32(down)
    else:
        removed = (weights >= np.float32(up - half)) & (weights < np.float32(up + half))
    return np.where(removed, np.float32(0), weights)


def slow_accuracies(model: Model, names: list[str], name: str, step: int, images: Tensor, labels: Tensor):
    """Kept share, clean and adversarial accuracy of a copy whose state dict was filtered with numpy."""
    other = copy.deepcopy(model.module)
    state = other.network.state_dict()
    filtered = [numpy_filter(state[f"{layer}.weight"].numpy(), name, step) for layer in names]
    state.update({f"{layer}.weight": torch.from_numpy(array) for layer, array in zip(names, filtered, strict=True)})
    other.network.load_state_dict(state)
    kept = sum(np.count_nonzero(array) for array in filtered) / sum(array.size for array in filtered)
    right = other(images).argmax(1) == labels
    robust = right & (other(fgsm(other, images, labels)).argmax(1) == labels)
    return kept, right.double().mean().item(), robust.double().mean().item()


def check_against_slow(entry: FilteredWeights, model: Model, names: list[str], images: Tensor, labels: Tensor) -> None:
    assert entry.weights == sum(model.module.network.get_submodule(name).weight.numel() for name in names)
    assert [curve.filter for curve in entry.curves] == ["high-pass", "low-pass", "pulse"]
    for curve in entry.curves:
        rows = [slow_accuracies(model, names, curve.filter, step, images, labels) for step in range(25)]
        kept, clean, adversarial = (np.array(column) for column in zip(*rows, strict=True))
        assert curve.thresholds == pytest.approx(np.linspace(0, 1, 25))
        assert curve.kept == pytest.approx(kept)
        assert curve.clean == pytest.approx(clean)
        assert curve.adversarial == pytest.approx(adversarial)
        p, q = clean / clean[0], adversarial / adversarial[0]
        axis = np.linspace(0, 1, 25)
        assert curve.clean_score == pytest.approx(simpson(p - kept, x=axis))
        assert curve.adversarial_score == pytest.approx(simpson(q - kept, x=axis))
        assert curve.difference_score == pytest.approx(simpson(q - p, x=axis))


def test_curves_and_scores_are_those_of_filtered_copies():
    model, _, images, labels, _, found = shown()
    assert [entry.layer for entry in found.layers] == list(LAYERS)
    assert found.network.layer is None
    check_against_slow(found.network, model, list(LAYERS), images, labels)
    for entry in found.layers[:1]:
        check_against_slow(entry, model, [str(entry.layer)], images, labels)
    assert len(set(found.network.curves[0].clean)) > 3
    assert any(clean > robust for clean, robust in zip(*accuracies(found.network), strict=True))


def accuracies(entry: FilteredWeights) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return entry.curves[2].clean, entry.curves[2].adversarial


def test_the_unfiltered_model_is_measured_too():
    model, _, images, labels, _, found = shown()
    right = model.module(images).argmax(1) == labels
    robust = right & (model.module(fgsm(model.module, images, labels)).argmax(1) == labels)
    assert (found.samples, found.clean.count, found.adversarial.count) == (COUNT, int(right.sum()), int(robust.sum()))
    assert 0 < found.adversarial.count < found.clean.count < COUNT


def test_the_ends_of_the_filters():
    part = shown()[-1].layers[0]
    high, low, pulse = (curve.kept for curve in part.curves)
    assert high[0] == low[0] == 1 - 1 / part.weights
    assert high[-1] == low[-1] == 0
    assert list(high) == sorted(high, reverse=True)
    assert pulse[-1] < 1


def test_weights_are_put_back_bit_for_bit():
    model, _, _, _, before, _ = shown()
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


def test_weights_are_put_back_when_the_attack_fails():
    model, graph, images, labels = subject()
    before = copy.deepcopy(model.module.state_dict())
    calls = []

    def attack(some: Tensor, theirs: Tensor, ids: tuple[str, ...]) -> Tensor:
        calls.append(any(not torch.equal(value, before[name]) for name, value in model.module.state_dict().items()))
        if len(calls) == 30:
            raise RuntimeError("stop")
        return some

    batches = batches_of(images, labels)
    with pytest.raises(RuntimeError, match="stop"):
        measure_filters(graph, model.module, graph.layers, batches, attack, "none", lambda count: None)
    assert calls[0] is False
    assert calls[-1] is True
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


@pytest.mark.slow
def test_the_attack_sees_right_images_only_with_their_ids():
    model, graph, images, labels = subject()
    seen: list[tuple[Tensor, Tensor, tuple[str, ...]]] = []

    def attack(some: Tensor, theirs: Tensor, ids: tuple[str, ...]) -> Tensor:
        assert torch.equal(model.module(some).argmax(1), theirs)
        seen.append((some, theirs, ids))
        return some

    found, _ = measure_filters(
        graph, model.module, graph.layers[:1], batches_of(images, labels), attack, "none", lambda count: None
    )
    assert found is not None
    assert found.network.curves == found.layers[0].curves
    for some, theirs, ids in seen:
        rows = [int(name.removeprefix("image-")) for name in ids]
        assert torch.equal(some, images[rows])
        assert torch.equal(theirs, labels[rows])
    for curve in found.network.curves:
        assert curve.adversarial == curve.clean
        assert curve.difference_score == 0


@pytest.mark.slow
def test_progress_counts_every_image_of_every_model():
    model, graph, images, labels = subject()
    told: list[int] = []
    measure_filters(
        graph, model.module, graph.layers, batches_of(images, labels), lambda some, *_: some, "none", told.append
    )
    assert models_measured(graph, graph.layers) == 1 + 75 * 4
    assert sum(told) == COUNT * models_measured(graph, graph.layers)


@pytest.mark.slow
def test_without_a_right_image_there_are_curves_and_no_scores():
    model, graph, images, _ = subject()
    with torch.no_grad():
        model.module.network.fc.bias.copy_(torch.tensor([100.0, 0, 0, 0]))
    found = measured(model, graph, images, torch.ones(COUNT, dtype=torch.int64))
    for curve in found.network.curves:
        assert set(curve.clean) == {0.0}
        assert (curve.clean_score, curve.adversarial_score, curve.difference_score) == (None, None, None)


@pytest.mark.slow
def test_an_attack_that_always_wins_leaves_the_clean_score():
    model, graph, images, labels = subject()
    wins = measure_filters(
        graph,
        model.module,
        graph.layers,
        batches_of(images, labels),
        lambda some, *_: torch.full_like(some, float("nan")),
        "nan",
        lambda count: None,
    )[0]
    assert wins is not None
    curve = wins.network.curves[0]
    assert set(curve.adversarial) == {0.0}
    assert curve.clean_score is not None
    assert (curve.adversarial_score, curve.difference_score) == (None, None)


def test_layers_that_cannot_be_filtered_are_named():
    model, graph, images, labels = subject()
    with torch.no_grad():
        model.module.network.conv2.weight.fill_(0.1)
        model.module.network.fc.weight[0, 0] = float("inf")
    arguments = (graph, model.module, graph.layers, batches_of(images, labels), lambda some, *_: some, "none")
    found, skipped = measure_filters(*arguments, lambda count: None)
    assert found is not None
    assert [entry.layer for entry in found.layers] == ["conv1"]
    assert [(entry.what, entry.reason) for entry in skipped] == [
        ("synaptic filters of conv2", "weights-without-range"),
        ("synaptic filters of fc", "weights-without-range"),
    ]


def test_without_a_layer_nothing_is_run():
    model, graph, images, labels = subject()
    with torch.no_grad():
        for name in LAYERS:
            model.module.network.get_submodule(name).weight.zero_()

    def attack(*_: object) -> Tensor:
        raise AssertionError("there is nothing to attack")

    found, skipped = measure_filters(
        graph, model.module, graph.layers, batches_of(images, labels), attack, "none", lambda count: None
    )
    assert found is None
    assert len(skipped) == 3
    assert models_measured(graph, graph.layers) == 0
