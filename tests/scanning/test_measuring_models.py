"""Dropping, patching and filtering on every kind of model, and what is left in the record."""

from __future__ import annotations

import copy
import io
import json

import numpy as np
import pytest
import torch

import lsa_audit
from lsa_audit.progress import Silent
from lsa_audit.records import AuditRecord
from lsa_audit.scanning.audit import audit, make_profile

from ..graph.networks import BatchCoupled, DataDependent, SharedWeights
from .test_audit import opaque  # noqa: F401 - a fixture
from .test_measuring import SETTINGS, answered, network, reasons, scanned, small

EVERYTHING = {"probes": ["patching", "filters"], "filter_samples": 4, "budget": None}


def complete(record: AuditRecord, neurons: dict[str, int], samples: int = 12) -> None:
    """All neurons of these layers were dropped on every image, clean and attacked."""
    assert {table.layer: len(table.neurons) for table in record.neurons} == neurons
    for table in record.neurons:
        assert [neuron.neuron_index for neuron in table.neurons] == list(range(len(table.neurons)))
        for neuron in table.neurons:
            for effect in (neuron.clean, neuron.adversarial):
                assert effect.measured == samples
                assert effect.accuracy_drop == pytest.approx((effect.losses - effect.gains) / samples)
                assert effect.low <= effect.accuracy_drop <= effect.high


def test_modules_that_cannot_be_exported_pay_a_whole_forward_for_each_pair():
    record = scanned(network(DataDependent), **EVERYTHING)
    assert record.graph.walker == "hooks"
    complete(record, {"stem": 4, "layers.0.0": 4, "fc": 5})
    assert 2 * 13 <= record.screening.exact <= 2 * 13 + 2
    part = scanned(network(DataDependent), budget=8.0)
    assert part.screening.spent <= 8
    assert 0 < part.screening.pairs_measured < record.screening.pairs_measured


def test_parts_of_a_model_whose_images_see_their_batch_mates_are_not_measured():
    record = scanned(network(BatchCoupled), **EVERYTHING)
    assert record.inconclusive
    assert (record.neurons, record.patching, record.filters) == ((), None, None)
    coupled = {what for what, reason in reasons(record).items() if reason == "batch-coupled"}
    assert coupled == {"nodal dropout", "activation patching", "synaptic filters"}


def test_weights_that_two_layers_share_are_dropped_and_not_filtered():
    record = scanned(network(SharedWeights), **EVERYTHING)
    complete(record, dict.fromkeys(("same", "same_2", "one", "other"), 6))
    assert record.filters is None
    shared = {f"synaptic filters of {name}" for name in ("same", "same_2", "one", "other")}
    assert shared <= {what for what, reason in reasons(record).items() if reason == "weights-not-editable"}


def test_a_runtime_of_its_own_measures_no_parts(opaque):  # noqa: F811
    images = torch.rand((9, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    settings = {**SETTINGS, **EVERYTHING, "attacks": [{"name": "square", "steps": 20}]}
    record = lsa_audit.scan(opaque, (images, torch.arange(9) % 3), **settings)
    assert (record.neurons, record.screening, record.patching, record.filters) == ((), None, None, None)
    assert {entry.what: entry.reason for entry in record.graph.skipped}["neurons"] == "runtime-only"


@pytest.mark.parametrize("count", [1, 2])
def test_very_few_images(count):
    record = scanned(small(), count, **EVERYTHING, layers="none")
    complete(record, {"conv1": 6, "conv2": 6, "fc": 4}, count)
    assert {neuron.clean.neuron_class for table in record.neurons for neuron in table.neurons} <= {"null", "robust"}


def test_the_models_own_answers_serve_as_labels():
    images, answers = answered(small())
    record = lsa_audit.scan(small(), (images, (answers + 1) % 4), **SETTINGS, labels="self", neurons="conv1")
    expected = lsa_audit.scan(small(), (images, answers), **SETTINGS, neurons="conv1")
    assert record.labels.source == "self"
    assert record.neurons == expected.neurons


def test_where_no_image_is_right_a_dropped_neuron_can_only_help():
    images, answers = answered(small())
    record = lsa_audit.scan(small(), (images, (answers + 1) % 4), **{**SETTINGS, **EVERYTHING})
    assert record.clean.count == 0
    assert record.patching is None
    assert reasons(record) == {"activation patching": "nothing-lost"}
    for table in record.neurons:
        assert table.gini is None
        assert {neuron.clean.losses for neuron in table.neurons} == {0}
        assert "fragile" not in {neuron.clean.neuron_class for neuron in table.neurons}


@pytest.mark.slow
def test_a_neuron_that_never_changes_is_worth_nothing_where_it_becomes_its_mean():
    subject = small()
    with torch.no_grad():
        subject.bn1.weight[2], subject.bn1.bias[2] = 0.0, 3.0
        subject.conv2.weight[:, 2] += 0.5
    drops = {}
    for drop_value in ("zero", "mean"):
        record = scanned(subject, drop_value=drop_value, neurons="conv1", layers="none")
        (table,) = record.neurons
        assert (table.drop_value, record.settings["drop_value"]) == (drop_value, drop_value)
        drops[drop_value] = table.neurons[2].clean
    assert abs(drops["zero"].margin_drop) > 0.01
    assert drops["mean"].margin_drop == pytest.approx(0, abs=1e-5)
    assert drops["mean"].estimated_margin_drop == pytest.approx(0, abs=1e-5)
    assert (drops["mean"].losses, drops["mean"].gains, drops["mean"].neuron_class) == (0, 0, "null")


@pytest.mark.slow_except("1-1")
@pytest.mark.parametrize(("asked", "taken"), [(1, 1), pytest.param(5, 5, marks=pytest.mark.slow), (100, 12)])
def test_filters_are_tried_on_as_many_images_as_asked_and_leave_the_weights(asked, taken):
    subject = small()
    before = copy.deepcopy(subject.state_dict())
    record = scanned(subject, probes=["filters"], filter_samples=asked, neurons="none")
    assert record.filters is not None
    assert (record.filters.samples, record.filters.clean.total) == (taken, taken)
    assert [entry.layer for entry in record.filters.layers] == ["conv1", "conv2", "fc"]
    assert (record.neurons, record.screening, record.patching) == ((), None, None)
    assert all(torch.equal(value, before[name]) for name, value in subject.state_dict().items())


@pytest.mark.slow_except("probes0-expected0")
@pytest.mark.parametrize(
    ("probes", "expected"),
    [([], (False, False)), (["patching"], (True, False)), (["filters"], (False, True))],
)
def test_only_the_probes_asked_for_run(probes, expected):
    record = scanned(small(), epsilon=[0.3], probes=probes, filter_samples=2, neurons="none")
    assert (record.patching is not None, record.filters is not None) == expected


def test_patching_tells_what_returns_for_each_layer_and_for_groups_of_dropped_neurons():
    record = scanned(small(), epsilon=[0.3], probes=["patching"], neurons="conv1")
    found = record.patching
    assert found.lost == record.clean.count - record.attacks[0].robust_accuracy.count > 0
    assert [layer.layer for layer in found.layers] == ["conv1", "conv2", "fc"]
    assert [bool(layer.groups) for layer in found.layers] == [True, False, False]
    assert (found.layers[-1].whole, found.layers[-1].returned.value) == (True, 1.0)
    assert all(layer.returned.total == found.lost for layer in found.layers)


@pytest.mark.slow
def test_record_and_evidence_survive_a_round_trip():
    profile = make_profile({"test": {**SETTINGS, **EVERYTHING, "epsilon": [0.3], "drop_value": "mean"}})
    result = audit(small(), profile, images=answered(small()), progress=Silent())
    text = result.record.model_dump_json()
    assert AuditRecord.model_validate_json(text) == result.record
    plain = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert {"neurons", "screening", "patching", "filters"} <= {key for key, value in plain.items() if value}
    stored = io.BytesIO()
    np.savez(stored, **result.evidence)
    with np.load(io.BytesIO(stored.getvalue()), allow_pickle=False) as loaded:
        assert set(loaded) == set(result.evidence)
        for name, array in result.evidence.items():
            np.testing.assert_array_equal(loaded[name], array)
