"""Fragile neurons: what is said of a layer, of several, and of estimates."""

from __future__ import annotations

from typing import Any

import pytest

from lsa_audit.findings import fragile_neurons
from lsa_audit.records import Correlation, NeuronTable

from ..reporting.builders import dropped, effect, related
from .records import PGD, found, record


def table(layer: str = "conv1", drops: tuple[float, ...] = (0.1, 0.0), **changes: Any) -> NeuronTable:
    whole = dropped(layer, PGD, 1)
    neurons = tuple(
        whole.neurons[0].model_copy(update={"neuron_index": place, "clean": effect(drop)})
        for place, drop in enumerate(drops)
    )
    settled = (related("accuracy_drop", 0.5, 0.001), related("margin_drop", 0.4, 0.002))
    return whole.model_copy(update={"neurons": neurons, "correlations": settled, **changes})


def messages(*tables: NeuronTable) -> list[str]:
    return [finding.message for finding in found("fragile-neurons", record(neurons=tables))]


def test_nothing_is_said_where_no_neuron_was_dropped():
    assert messages() == []


def test_a_layer_by_itself():
    (finding,) = found("fragile-neurons", record(neurons=(table(drops=(0.04, 0.1, 0.0)),)))
    assert (finding.level, finding.subject) == ("note", "conv1")
    assert finding.message == (
        "2 of 3 neurons are fragile; without neuron 1 the accuracy is 10.0 % lower. The attack moves a neuron the "
        "more, the more the model depends on it (rank correlation with the targeting score: accuracy drop rho 0.50, "
        "p 0.001; margin drop rho 0.40, p 0.002; 16 neurons)."
    )


@pytest.mark.parametrize(
    "correlations",
    [
        (related("accuracy_drop", 0.5, 0.001), related("margin_drop", 0.4, 0.06)),
        (related("accuracy_drop", 0.5, 0.001), related("margin_drop", -0.4, 0.001)),
    ],
)
def test_a_direction_needs_every_correlation(correlations: tuple[Correlation, ...]):
    (message,) = messages(table(correlations=correlations))
    assert "Whether the attack moves the neurons that the model depends on is not settled" in message


def test_the_reverse_and_the_unknown():
    (less,) = messages(table(correlations=(related("margin_drop", -0.4, 0.001),)))
    assert "The attack moves a neuron the less, the more the model depends on it" in less
    (unknown,) = messages(table(correlations=(related("margin_drop", None, None),)))
    assert "cannot be told from these neurons" in unknown


def test_the_network_comes_before_the_layers_with_the_most_fragile_neurons():
    layers = [table(f"conv{place}", drops=(0.1,) * place + (0.0,)) for place in range(8)]
    told = found("fragile-neurons", record(neurons=layers))
    assert [finding.subject for finding in told] == ["resnet20", "conv7", "conv6", "conv5", "conv4", "conv3"]
    assert len(told) == 1 + fragile_neurons.LAYER_LIMIT
    assert told[0].message == (
        "28 of 36 neurons in 8 layers are fragile. The attack moves a neuron the more, the more the model depends on "
        "it, in 8 of the layers, the less in 0; not settled in 0 (rank correlations with the targeting score, "
        "Holm-corrected over the layers)."
    )
    assert "together p 0.016, Holm-corrected over the layers" in told[1].message


def test_a_layer_of_several_without_a_fragile_neuron_has_no_finding_of_its_own():
    told = messages(table("conv1", drops=(0.0,)), table("conv2", drops=(0.0,)))
    assert len(told) == 1
    assert told[0].startswith("0 of 2 neurons in 2 layers are fragile.")


def test_layers_are_judged_after_correction_for_their_number():
    weak = (related("accuracy_drop", 0.5, 0.03), related("margin_drop", 0.4, 0.03))
    assert "not settled" not in messages(table(correlations=weak))[0]
    together, first, second = messages(table("conv1", correlations=weak), table("conv2", correlations=weak))
    assert "in 0 of the layers, the less in 0; not settled in 2" in together
    assert "not settled" in first
    assert "not settled" in second


def test_estimates_are_never_called_measured():
    guessed = table(drops=(0.1, 0.0)).neurons
    partly = tuple(neuron.model_copy(update={"clean": effect(0.1, measured=64)}) for neuron in guessed[:1])
    one = table("conv1", neurons=(*partly, guessed[1]))
    (message,) = messages(one)
    assert "10.0 % lower by an estimate; 1 of the 2 were not dropped on every image, and their classes rest" in message
    together, *_ = messages(one, table("conv2"))
    assert "fragile; 1 of the 4 were not dropped on every image, and their classes rest on estimates." in together
    assert "estimate" not in messages(table())[0]


def test_self_labels_are_not_called_accuracy():
    labels = record().labels.model_copy(update={"source": "self"})
    (finding,) = found("fragile-neurons", record(labels=labels, neurons=(table(),)))
    assert "accuracy" not in finding.message
    assert "without neuron 0 the prediction stability is 10.0 % lower" in finding.message
