"""JUnit XML: valid by the schema of Jenkins, well formed whatever the names, counted right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from lsa_audit.records import AuditRecord
from lsa_audit.reporting import junit
from lsa_audit.reporting.shown import Shown

from .builders import build
from .gating_records import CASES, check, failed, gating, shown

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parent / "schemas" / "junit-10.xsd"))


def parsed(what: Shown) -> etree._Element:
    return etree.fromstring(junit.render(what).encode())


def outcomes(what: Shown, suite: str) -> list[tuple[str, str, str]]:
    cases = parsed(what).findall(f"testsuite[@name='lsa-audit.{suite}']/testcase")
    return [(case.get("name"), case[0].tag, case[0].get("type") or "") for case in cases]


def test_the_schema_refuses() -> None:
    assert not SCHEMA.validate(etree.fromstring("<testsuites><testcase/></testsuites>"))


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_valid(case: str, samples: dict[str, AuditRecord]) -> None:
    SCHEMA.assertValid(parsed(shown(case, samples)))


def test_every_record_is_valid(any_record: AuditRecord) -> None:
    SCHEMA.assertValid(parsed(Shown(any_record)))


@pytest.mark.parametrize("case", CASES)
def test_gold(case: str, samples: dict[str, AuditRecord], check_gold: Callable[[str, str], None]) -> None:
    check_gold(f"{case}.junit.xml", junit.render(shown(case, samples)))


@pytest.mark.parametrize("case", CASES)
def test_the_counts_are_those_of_the_cases(case: str, samples: dict[str, AuditRecord]) -> None:
    root = parsed(shown(case, samples))
    for holder in (root, *root.findall("testsuite")):
        seen = {
            key: str(len(holder.findall(f".//{tag}")))
            for key, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"))
        }
        assert {key: holder.get(key) for key in seen} == seen
    for suite in root.findall("testsuite"):
        assert suite.get("skipped") == str(len(suite.findall(".//skipped")))
        names = [(case.get("classname"), case.get("name")) for case in suite.findall("testcase")]
        assert len(set(names)) == len(names)


def test_each_outcome_of_a_gate() -> None:
    assert outcomes(Shown(build(), failed()), "gates") == [
        ("clean_accuracy:max_drop", "system-out", ""),
        ("relative_error@layer1.*:max_rise", "error", "inconclusive"),
        ("fragile_neurons@conv1:max_rise", "skipped", "warning"),
        ("robust_accuracy@linf-8/255:max_drop", "failure", "failed"),
        ("skipped:max", "skipped", "waived"),
    ]


def test_gates_without_checks_are_an_error() -> None:
    nothing = gating().model_copy(update={"checks": ()})
    assert outcomes(Shown(build(), nothing), "gates") == [("checks", "error", "inconclusive")]


def test_failed_attacks_are_errors_unless_gates_judge_them(samples: dict[str, AuditRecord]) -> None:
    record = samples["findings"]
    assert outcomes(Shown(record), "audit") == [
        ("scan", "system-out", ""),
        ("pgd", "error", "attack-health"),
        ("resnet20", "system-out", ""),
        ("linear", "system-out", ""),
    ]
    assert {tag for _, tag, _ in outcomes(Shown(record, gating()), "audit")} == {"system-out"}


def test_what_was_not_measured_is_skipped(samples: dict[str, AuditRecord]) -> None:
    assert outcomes(Shown(samples["skipped"]), "audit")[1:] == [
        ("layer stem.add", "skipped", "not-measured"),
        ("neurons of conv1", "skipped", "not-measured"),
    ]


def test_cases_of_one_name_are_numbered() -> None:
    names = [name for name, _, _ in outcomes(Shown(build(), gating(check(), check())), "gates")]
    assert names == ["clean_accuracy:max_drop", "clean_accuracy:max_drop (2)"]


def test_the_properties_say_what_was_audited() -> None:
    found = {entry.get("name"): entry.get("value") for entry in parsed(Shown(build(), failed())).iter("property")}
    assert found["model"] == "resnet20"
    assert found["data sha256"] == build().data.sha256
    assert found["verdict"] == "failed"
    assert found["baseline"] == "baseline.json"


@pytest.mark.parametrize(("seconds", "written"), [(192.4, "192.400"), (float("nan"), "0.000"), (float("inf"), "0.000")])
def test_the_time_is_a_number(seconds: float, written: str) -> None:
    timing = build().timing.model_copy(update={"duration_s": seconds})
    root = parsed(Shown(build(timing=timing)))
    assert SCHEMA.validate(root)
    assert root.get("time") == root[0].get("time") == written


def test_no_control_character_is_left() -> None:
    bad = "a\x00b\x0b\ud7ff\ufffe\uffff\x1b]]>&<"
    record = build(model=build().model.model_copy(update={"name": bad}))
    root = parsed(Shown(record, gating(check(id=bad, outcome="failed", sentence=bad))))
    case = root.find("testsuite/testcase[failure]")
    assert case is not None
    assert case.get("name") == "a\\x00b\\x0b\\ud7ff\\ufffe\\uffff\\x1b]]>&<"
