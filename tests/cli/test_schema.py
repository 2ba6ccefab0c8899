"""`lsa-audit schema`: what is written fits its schema, and what is broken does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lsa_audit.__main__ import main
from lsa_audit.cli.schema import schema
from lsa_audit.cli.topics import SCHEMAS
from lsa_audit.records import SCHEMA_VERSION
from lsa_audit.records.gating import GateCheck, Gating
from lsa_audit.records.upgrading import upgraded
from lsa_audit.reporting.json import read
from lsa_audit.settings.profile import presets

ROOT = Path(__file__).resolve().parents[2]
RECORDS = [*sorted((ROOT / "reports").rglob("record.json")), *sorted((ROOT / "tests/records").glob("version-*.json"))]


def problems(kind: str, content: Any) -> list[str]:
    errors = jsonschema.Draft202012Validator(schema(kind)).iter_errors(content)
    return [f"{list(error.absolute_path)}: {error.message}" for error in errors]


def record() -> dict[str, Any]:
    return upgraded(json.loads((ROOT / "tests/records/version-2.json").read_text(encoding="utf-8")))


def profile(text: str) -> list[str]:
    # As a file is read: a day is a date in YAML and text in JSON.
    return problems("profile", json.loads(json.dumps(yaml.safe_load(text), default=str)))


@pytest.mark.slow_except("record", "gate")
@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_schema_is_valid_and_says_what_it_is_of(kind, capsys):
    assert main(["schema", kind]) == 0
    content = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(content)
    assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert content["title"] == f"lsa-audit: {SCHEMAS[kind]}"
    assert "$id" not in content


def test_the_record_is_the_default_and_a_file_can_be_named(tmp_path, capsys):
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    assert main(["schema", "record", "--out", str(tmp_path / "record.schema.json")]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "record.schema.json").read_text() == printed


def test_what_cannot_be_given_is_refused(tmp_path, capsys):
    assert main(["schema", "recrod"]) == 2
    assert main(["schema", "--out", str(tmp_path / "nowhere" / "file")]) == 2
    assert "there is record, gate, baseline" in capsys.readouterr().err


@pytest.mark.slow_except("tests/records/version-1.json")
@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_records_fit_their_schema(path):
    text = path.read_text(encoding="utf-8")
    assert problems("record", json.loads(read(text).model_dump_json())) == []
    assert problems("record", upgraded(json.loads(text))) == []


def test_other_committed_files_fit_their_schema():
    (repair, *_) = sorted((ROOT / "reports").rglob("repair.json"))
    assert problems("repair", json.loads(repair.read_text(encoding="utf-8"))) == []
    (hardening, *_) = sorted((ROOT / "reports").rglob("hardening.json"))
    fields = json.loads(hardening.read_text(encoding="utf-8"))
    audits = {name: upgraded(fields[name]) for name in ("before", "after")}
    assert problems("hardening", fields | audits) == []


def test_what_gates_say_fits_its_schema():
    check = GateCheck(
        id="skipped:max",
        gate="skipped",
        kind="skipped",
        target="",
        level="error",
        limit="max",
        allowed=0,
        outcome="passed",
        sentence="nothing was skipped",
    )
    said = Gating(
        tool_version="0", judged_on="2026-01-31", run="run", baseline=None, profile=None, images=1, images_paired=None,
        checks=(check,),
    )  # fmt: skip
    fields = json.loads(said.model_dump_json())
    assert problems("gate", fields) == []
    fields["checks"][0]["outcome"] = "maybe"
    assert len(problems("gate", fields)) == 1


@pytest.mark.slow_except("change1")
@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": SCHEMA_VERSION + 1},
        {"schema_version": None},
        {"clean": None},
        {"attacks": {}},
        {"unknown": 1},
        {"findings": [{"rule": "x"}]},
        {"settings": []},
    ],
)
def test_what_is_broken_does_not_fit(change):
    assert problems("record", record()) == []
    assert len(problems("record", record() | change)) >= 1


def test_a_record_without_its_version_does_not_fit():
    fields = record()
    del fields["schema_version"]
    assert len(problems("record", fields)) == 1


def test_the_baseline_states_both_its_versions():
    content = schema("baseline")
    assert content["properties"]["baseline_version"]["const"] == 1
    assert content["$defs"]["Snapshot"]["properties"]["snapshot_version"]["const"] == 1


@pytest.mark.parametrize("name", presets())
def test_every_shipped_profile_fits(name):
    assert profile(presets()[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "epsilon: [8/255, 0.1]",
        "attacks: [fgsm, {name: pgd, epsilon: [4/255], step_size: 1/255}]",
        "gates: {preset: strict, skipped: off}",
        "gates: {clean_accuracy: [error, {min: 0.9}], mvl: off, 'robust_accuracy@linf-8/255': {max_drop: 0.02}}",
        "gates: {'relative_error@layer4.*': [warn, {max: 1.2, under: pgd@linf-8/255}], skipped: ['off']}",
        "waivers: [{gate: 'mvl@*', reason: known, expires: 2027-01-31}]",
    ],
)
def test_a_profile_as_people_write_it_fits(text):
    assert profile(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "smaples: 5",
        "epsilon: [eight]",
        "epsilon: [-1]",
        "attacks: [{name: pgd, step: 4}]",
        "gates: {clean_acuracy: [error, {min: 0.9}]}",
        "gates: {preset: harsh}",
        "gates: {clean_accuracy: [fatal, {min: 0.9}]}",
        "gates: {clean_accuracy: [error, {min: 90}]}",
        "gates: {clean_accuracy: [error, {min: 0.9}, 3]}",
        "waivers: [{gate: mvl, expires: 2027-01-31}]",
    ],
)
def test_a_profile_with_a_mistake_does_not_fit(text):
    assert len(profile(text)) >= 1


def test_torch_is_not_imported():
    code = "import sys; from lsa_audit.cli import schema; schema.command('profile'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
