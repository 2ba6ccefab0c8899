from __future__ import annotations

import json as plain_json
from collections.abc import Callable

import pytest

from lsa_audit.errors import UsageError
from lsa_audit.records import SCHEMA_VERSION, AuditRecord
from lsa_audit.reporting import json
from lsa_audit.reporting.shown import Shown


def test_what_is_written_can_be_read(any_record: AuditRecord) -> None:
    text = json.render(Shown(any_record))
    assert text.endswith("}\n")
    # Compared as text: what is not finite becomes null.
    assert json.render(Shown(json.read(text))) == text
    assert json.render(Shown(json.read(text.encode()))) == text


def test_what_is_not_finite_is_null(samples: dict[str, AuditRecord]) -> None:
    text = json.render(Shown(samples["not-finite"]))
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.read(text).sustainability[0].mu is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "no schema_version"),
        ("{}", "no schema_version"),
        ('{"schema_version": 99}', f"schema_version 99, this lsa-audit reads up to {SCHEMA_VERSION}"),
        ('{"schema_version": true}', "schema_version True"),
        ('{"schema_version": "1\\u001b[31m"}', "schema_version 1\\\\x1b"),
        (f'{{"schema_version": {SCHEMA_VERSION}}}', "malformed at tool_version: Field required"),
    ],
)
def test_what_is_no_record_is_a_usage_error(content: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("[", r"\[")):
        json.read(content)


def test_the_first_malformed_field_is_named(samples: dict[str, AuditRecord]) -> None:
    fields = plain_json.loads(json.render(Shown(samples["clean"])))
    fields["attacks"][1]["fooled"] = "many"
    with pytest.raises(UsageError, match=r"malformed at attacks\.1\.fooled"):
        json.read(plain_json.dumps(fields))


@pytest.mark.parametrize("name", ["clean", "findings", "skipped", "hostile"])
def test_gold(name: str, samples: dict[str, AuditRecord], check_gold: Callable[[str, str], None]) -> None:
    check_gold(f"{name}.json", json.render(Shown(samples[name])))


def test_the_neurons_of_a_layer_take_one_line_and_a_third_of_the_bytes(samples: dict[str, AuditRecord]) -> None:
    record = samples["every-layer"]
    text = json.render(Shown(record))
    lines = [line for line in text.splitlines() if line.startswith('    {"layer":')]
    assert len(lines) == len(record.neurons) > 1
    assert json.read(text) == record
    neurons = [neuron for table in record.neurons for neuron in table.neurons]
    one_by_one = plain_json.dumps([neuron.model_dump() for neuron in neurons], indent=2)
    assert sum(map(len, lines)) / len(neurons) < 0.4 * len(one_by_one) / len(neurons)


def test_texts_that_look_like_the_place_of_the_neurons_are_left_alone(samples: dict[str, AuditRecord]) -> None:
    record = samples["every-layer"].model_copy(update={"subject": json.NO_NEURONS, "settings": {"neurons": []}})
    assert json.read(json.render(Shown(record))) == record


def test_columns_are_a_sequence_of_neurons(samples: dict[str, AuditRecord]) -> None:
    table = samples["every-layer"].neurons[0]
    listed = list(table.neurons)
    assert len(table.neurons) == len(listed)
    assert table.neurons[2] == listed[2]
    assert table.neurons[-1] == listed[-1]
    assert table.neurons[1:3] == tuple(listed[1:3])
    assert table.model_copy(update={"neurons": tuple(listed)}) == table
