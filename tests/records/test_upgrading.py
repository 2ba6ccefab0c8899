"""Records of earlier schema versions, as the program of that time wrote them, are still read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lsa_audit.errors import UsageError
from lsa_audit.records import SCHEMA_VERSION
from lsa_audit.records.upgrading import STEPS, upgraded
from lsa_audit.reporting import FORMATS
from lsa_audit.reporting.json import read
from lsa_audit.reporting.sections import attack_health
from lsa_audit.reporting.shown import Shown

HERE = Path(__file__).parent


def written(version: int) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((HERE / f"version-{version}.json").read_text(encoding="utf-8"))
    assert fields["schema_version"] == version
    return fields


def test_there_is_a_step_and_a_record_for_every_earlier_version():
    assert list(STEPS) == list(range(1, SCHEMA_VERSION))
    assert sorted(path.name for path in HERE.glob("version-*.json")) == [f"version-{version}.json" for version in STEPS]


@pytest.mark.parametrize("version", STEPS)
def test_each_step_gives_the_next_version_and_leaves_its_input_alone(version):
    fields = written(version)
    before = json.dumps(fields)
    assert STEPS[version](fields)["schema_version"] == version + 1
    assert json.dumps(fields) == before


@pytest.mark.slow_except("2")
@pytest.mark.parametrize("version", STEPS)
def test_a_record_of_an_earlier_version_is_read_and_rendered(version):
    fields = written(version)
    record = read(json.dumps(fields))
    assert record.schema_version == SCHEMA_VERSION
    assert record.clean.count == fields["clean"]["count"]
    assert [finding.message for finding in record.findings] == [entry["message"] for entry in fields["findings"]]
    for _, render in FORMATS.values():
        assert render(Shown(record)).strip()


def test_neuron_tables_of_version_1_are_left_out_and_named():
    fields = written(1)
    layers = [table["layer"] for table in fields["neurons"]]
    record = read(json.dumps(fields))
    assert layers == ["conv1"]
    assert record.neurons == ()
    assert [(skipped.what, skipped.reason) for skipped in record.skipped[len(fields["skipped"]) :]] == [
        ("neurons of conv1", "older-record")
    ]


def test_neuron_tables_of_version_2_stay():
    fields = written(2)
    assert STEPS[2](fields) == fields | {"schema_version": 3}
    assert len(read(json.dumps(fields)).neurons[0].neurons) == len(fields["neurons"][0]["neurons"]) > 1


@pytest.mark.parametrize("version", [2, 3])
def test_neurons_become_columns_with_every_figure_as_it_was(version):
    fields = written(version)
    table = read(json.dumps(fields)).neurons[0]
    assert [neuron.model_dump() for neuron in table.neurons] == fields["neurons"][0]["neurons"]
    assert table.neurons[3].model_dump() == fields["neurons"][0]["neurons"][3]
    assert upgraded(fields)["neurons"][0] | {"neurons": None} == fields["neurons"][0] | {"neurons": None}


@pytest.mark.parametrize("version", STEPS)
def test_an_older_record_holds_no_checks_and_never_says_fine(version):
    record = read(json.dumps(written(version)))
    assert record.checks == ()
    found = {entry.rule for entry in record.findings}
    assert {attack_health.result(check) for check in attack_health.checks(record) if check.rule not in found} == {
        "not run"
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"neurons": None},
        {"neurons": 5},
        {"neurons": ["conv1"]},
        {"neurons": [{}]},
        {"skipped": 7},
        {"skipped": {"a": 1}},
        {"neurons": [{"layer": "\ud800"}]},
        {"clean": []},
    ],
)
def test_what_is_malformed_in_an_old_record_is_a_usage_error(changes):
    with pytest.raises(UsageError, match="malformed"):
        read(json.dumps(written(1) | changes))


@pytest.mark.parametrize(
    "change",
    [
        {"neurons": None},
        {"neurons": [5]},
        {"neurons": [{}]},
        {"neurons": [[]]},
        {"neurons": {"neuron_index": []}},
        {"extra": 1},
    ],
)
def test_what_is_malformed_in_the_neurons_of_version_3_is_a_usage_error(change):
    fields = written(3)
    fields["neurons"][0] |= change
    with pytest.raises(UsageError, match="malformed"):
        read(json.dumps(fields))


@pytest.mark.parametrize("change", [{"low": []}, {"losses": [1]}, {"neuron_class": ["odd"]}, {"p_value": None}])
def test_columns_of_different_lengths_are_malformed(change):
    fields = upgraded(written(3))
    fields["neurons"][0]["neurons"]["clean"] |= change
    with pytest.raises(UsageError, match="malformed at neurons"):
        read(json.dumps(fields))


@pytest.mark.parametrize("version", [0, -1, SCHEMA_VERSION + 1, 10**30, 1.0, True, "1", None, [1]])
def test_a_version_that_is_not_known_is_refused(version):
    with pytest.raises(UsageError, match=f"this lsa-audit reads up to {SCHEMA_VERSION}"):
        read(json.dumps(written(2) | {"schema_version": version}))
