"""SARIF: valid by the official schema, stable from run to run, silent about folders of the machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator

from lsa_audit.records import AuditRecord, Finding
from lsa_audit.reporting import sarif
from lsa_audit.reporting.shown import Shown

from .builders import build
from .gating_records import CASES, FAILED, WAIVED, check, failed, gating, inconclusive, shown, waived

SCHEMA = Path(__file__).parent / "schemas" / "sarif-2.1.0.json"
FINDING = Finding(rule="vulnerable-layers", level="warning", subject="linear", message="moves most")


@pytest.fixture(scope="module")
def validator() -> Draft4Validator:
    return Draft4Validator(json.loads(SCHEMA.read_bytes()), format_checker=Draft4Validator.FORMAT_CHECKER)


def run_of(what: Shown) -> dict[str, Any]:
    (run,) = json.loads(sarif.render(what))["runs"]
    return run


def results_of(what: Shown) -> list[dict[str, Any]]:
    return run_of(what)["results"]


def physical(what: Shown) -> dict[str, Any] | None:
    return results_of(what)[0]["locations"][0].get("physicalLocation")


def test_the_schema_is_whole_and_refuses(validator: Draft4Validator) -> None:
    assert len(validator.schema["definitions"]) == 52
    log = json.loads(sarif.render(shown("gates-failed", {"findings": build()})))
    log["runs"][0]["results"][0]["level"] = "grave"
    assert not validator.is_valid(log)


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_valid(case: str, samples: dict[str, AuditRecord], validator: Draft4Validator) -> None:
    assert [error.message for error in validator.iter_errors(json.loads(sarif.render(shown(case, samples))))] == []


def test_every_record_is_valid(any_record: AuditRecord, validator: Draft4Validator) -> None:
    assert validator.is_valid(json.loads(sarif.render(Shown(any_record))))


@pytest.mark.parametrize("case", CASES)
def test_gold(case: str, samples: dict[str, AuditRecord], check_gold: Callable[[str, str], None]) -> None:
    check_gold(f"{case}.sarif", sarif.render(shown(case, samples)))


@pytest.mark.parametrize("case", CASES)
def test_each_result_points_to_its_rule(case: str, samples: dict[str, AuditRecord]) -> None:
    run = run_of(shown(case, samples))
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [
        result["ruleId"] for result in run["results"]
    ]
    assert len({rule["id"] for rule in rules}) == len(rules)
    reasons = {notification["id"] for notification in run["tool"]["driver"]["notifications"]}
    (invocation,) = run["invocations"]
    assert {entry["descriptor"]["id"] for entry in invocation["toolExecutionNotifications"]} == reasons


def test_what_passed_is_no_result_and_what_is_waived_is_suppressed() -> None:
    found = results_of(Shown(build(), failed()))
    assert [(result["ruleId"], result["level"], result["properties"]["outcome"]) for result in found] == [
        ("gate/relative_error", "error", "inconclusive"),
        ("gate/fragile_neurons", "warning", "failed"),
        ("gate/robust_accuracy", "error", "failed"),
        ("gate/skipped", "error", "failed"),
    ]
    assert [result["suppressions"] for result in found[:3]] == [[], [], []]
    (suppression,) = found[3]["suppressions"]
    assert suppression == {"kind": "external", "status": "accepted", "justification": WAIVED.waiver}


def test_where_gates_judge_a_finding_is_no_error(samples: dict[str, AuditRecord]) -> None:
    levels = {
        said is None: [result["level"] for result in results_of(Shown(samples["findings"], said))]
        for said in (None, gating())
    }
    assert levels == {True: ["note", "warning", "error"], False: ["note", "warning", "warning"]}


def test_nothing_that_was_not_measured_is_lost(samples: dict[str, AuditRecord]) -> None:
    (invocation,) = run_of(Shown(samples["skipped"]))["invocations"]
    said = [entry["message"]["text"] for entry in invocation["toolExecutionNotifications"]]
    assert said == [
        "Not measured: layer stem.add: No dimension is the batch.",
        "Not measured: neurons of conv1: The layer has no neuron dimension.",
    ]


def test_waivers_that_are_of_no_use_are_told() -> None:
    (invocation,) = run_of(Shown(build(), failed()))["invocations"]
    said = [entry["message"]["text"] for entry in invocation["toolConfigurationNotifications"]]
    assert said == [
        "The waiver of mvl* until 2024-12-31 is expired.",
        "The waiver of clean* until 2025-12-31 is unused.",
    ]


@pytest.mark.parametrize(
    ("record", "said", "code"),
    [
        ("clean", None, 0),
        ("findings", None, 3),
        ("clean", gating(), 0),
        ("clean", waived(), 0),
        ("findings", failed(), 1),
        ("clean", inconclusive(), 3),
        ("findings", gating(), 0),
    ],
)
def test_the_exit_code_is_that_of_the_command(
    record: str, said: Any, code: int, samples: dict[str, AuditRecord]
) -> None:
    (invocation,) = run_of(Shown(samples[record], said))["invocations"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (code, True)


@pytest.mark.parametrize(
    ("started", "seconds", "times"),
    [
        ("2025-01-02T03:04:05+00:00", 1.5, ["2025-01-02T03:04:05.000Z", "2025-01-02T03:04:06.500Z"]),
        ("2025-01-02T03:04:05+02:00", 0.0, ["2025-01-02T01:04:05.000Z", "2025-01-02T01:04:05.000Z"]),
        ("2025-01-02 03:04:05", 60.0, ["2025-01-02T03:04:05.000Z", "2025-01-02T03:05:05.000Z"]),
        ("yesterday", 1.0, [None, None]),
        ("2025-01-02", float("nan"), [None, None]),
        ("2025-01-02", 1e300, [None, None]),
        ("0001-01-01T00:00:00+12:00", 1.0, [None, None]),
    ],
)
def test_times_are_utc_or_absent(started: str, seconds: float, times: list[str | None]) -> None:
    timing = build().timing.model_copy(update={"started_at": started, "duration_s": seconds})
    (invocation,) = run_of(Shown(build(timing=timing)))["invocations"]
    assert [invocation.get("startTimeUtc"), invocation.get("endTimeUtc")] == times


@pytest.mark.parametrize(
    ("profile", "uri"),
    [
        ("ci.yaml", "ci.yaml"),
        ("./gates/my ci.yaml", "gates/my%20ci.yaml"),
        ("gates\\ci.yaml", "gates/ci.yaml"),
        ("/home/someone/secret/ci.yaml", "ci.yaml"),
        ("C:\\Users\\someone\\ci.yaml", "ci.yaml"),
        ("\\\\server\\share\\ci.yaml", "ci.yaml"),
        ("../../elsewhere/ci.yaml", "ci.yaml"),
        ("a?b#c%d:e.yaml", "a%3Fb%23c%25d%3Ae.yaml"),
        ("\u540d.yaml", "%E5%90%8D.yaml"),
    ],
)
def test_a_gate_points_to_its_line_without_the_folders_of_the_machine(profile: str, uri: str) -> None:
    found = physical(Shown(build(), gating(FAILED.model_copy(update={"line": 7}), profile=profile)))
    assert found == {"artifactLocation": {"uri": uri}, "region": {"startLine": 7}}


@pytest.mark.parametrize("changes", [{"line": None}, {"line": 0}, {"line": -3}])
def test_a_gate_of_a_preset_points_to_no_file(changes: dict[str, Any]) -> None:
    assert physical(Shown(build(), gating(FAILED.model_copy(update=changes), profile="default"))) is None


@pytest.mark.parametrize(
    ("subject", "settings", "uri"),
    [
        ("models/net.onnx", {}, "models/net.onnx"),
        ("/data/net.pt2", {}, "net.pt2"),
        ("net.dat", {"arch": "resnet18"}, "net.dat"),
        ("net.py:make", {}, "net.py"),
        ("net.py:make", {"checkpoint": "weights/last.dat"}, "weights/last.dat"),
        ("resnet18.a1_in1k", {}, None),
        ("hf_hub:someone/net", {}, None),
        ("package.module:make", {}, None),
        (None, {}, None),
        ("/", {"arch": "resnet18"}, None),
    ],
)
def test_a_finding_points_to_the_file_of_the_model(subject: str | None, settings: dict[str, Any], uri: str) -> None:
    found = physical(Shown(build(subject=subject, settings=settings, findings=(FINDING,))))
    assert found == (None if uri is None else {"artifactLocation": {"uri": uri}})


def test_without_a_file_of_the_model_a_finding_points_to_the_profile() -> None:
    record = build(findings=(FINDING,))
    assert physical(Shown(record, gating())) == {"artifactLocation": {"uri": "ci.yaml"}}
    assert physical(Shown(record, gating(check(line=None), profile="default"))) is None


def test_a_layer_is_a_module() -> None:
    elsewhere = FINDING.model_copy(update={"subject": "pgd"})
    found = results_of(Shown(build(findings=(FINDING, elsewhere))))
    assert [result["locations"][0]["logicalLocations"] for result in found] == [
        [{"name": "linear", "kind": "module"}],
        [{"name": "pgd", "kind": "object"}],
    ]


def fingerprints(*findings: Finding, **changes: Any) -> list[str]:
    found = results_of(Shown(build(findings=findings, **changes)))
    assert all(len(set(result["partialFingerprints"].values())) == 1 for result in found)
    return [result["partialFingerprints"]["lsaAudit/v1"] for result in found]


def test_fingerprints_depend_on_rule_subject_and_model_alone() -> None:
    first = fingerprints(FINDING)
    assert fingerprints(FINDING.model_copy(update={"message": "other", "level": "note"}), tool_version="9.9.9") == first
    assert fingerprints(FINDING.model_copy(update={"subject": "conv1"})) != first
    assert fingerprints(FINDING.model_copy(update={"rule": "labels"})) != first
    assert fingerprints(FINDING, model=build().model.model_copy(update={"name": "other"})) != first
    assert len(set(fingerprints(FINDING, FINDING, FINDING))) == 3


def test_the_line_of_a_gate_is_no_part_of_its_fingerprint() -> None:
    marks = {
        results_of(Shown(build(), gating(FAILED.model_copy(update={"line": line}))))[0]["partialFingerprints"][
            "lsaAudit/v1"
        ]
        for line in (1, 2, None)
    }
    assert len(marks) == 1


def test_messages_hold_no_links_and_no_placeholders() -> None:
    said = Finding(rule="labels", level="note", subject="{0}", message="[x](javascript:alert(1)) {1}")
    assert results_of(Shown(build(findings=(said,))))[0]["message"]["text"] == (
        "{{0}}: [x] (javascript:alert(1)) {{1}}."
    )


@pytest.mark.parametrize(
    ("version", "semantic"), [("1.2.3", "1.2.3"), ("1.2.3-rc.1+x", "1.2.3-rc.1+x"), ("1.2", None), ("<b>", None)]
)
def test_only_a_semantic_version_is_called_one(version: str, semantic: str | None) -> None:
    driver = run_of(Shown(build(tool_version=version)))["tool"]["driver"]
    assert (driver["version"], driver.get("semanticVersion")) == (version, semantic)
