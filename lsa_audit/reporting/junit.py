"""The run as JUnit XML: each check of a gate is a test case, and so is what the audit found or could not measure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from ..page import text
from ..records import AuditRecord
from ..records.gating import GateCheck, Gating
from . import selection
from .sections import findings
from .shown import Shown

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
NO_CHECKS = "No gate of the profile looked at anything, so nothing was decided."


@dataclass(frozen=True)
class Case:
    """One test case.

    Attributes:
        outcome: `failure`, `error` or `skipped`; empty for one that passes.
        kind: what sort of outcome it is, in one word.
    """

    group: str
    name: str
    sentence: str
    outcome: str = ""
    kind: str = ""


def render(shown: Shown) -> str:
    """A document with one suite for the gates, where they were asked, and one for the audit."""
    suites = [_suite("audit", list(_audit(shown)), shown, shown.record.timing.duration_s)]
    if shown.gating is not None:
        suites.insert(0, _suite("gates", list(_gates(shown.gating)), shown))
    counts = {key: str(sum(int(suite.attrib[key]) for suite in suites)) for key in ("tests", "failures", "errors")}
    root = ElementTree.Element("testsuites", {"name": "lsa-audit", **counts, "time": suites[-1].attrib["time"]})
    root.extend(suites)
    ElementTree.indent(root)
    return f"{HEAD}{ElementTree.tostring(root, encoding='unicode')}\n"


def _gates(gating: Gating) -> Iterator[Case]:
    if not gating.checks:
        yield Case("gate", "checks", NO_CHECKS, "error", "inconclusive")
    for check in gating.checks:
        yield _check(check)


def _check(check: GateCheck) -> Case:
    group, name, said = f"gate.{text.name(check.kind)}", text.name(check.id), text.sentence(check.sentence)
    if check.outcome == "passed":
        return Case(group, name, said)
    if check.waiver is not None:
        return Case(group, name, f"waived: {text.sentence(check.waiver)}; {check.outcome}: {said}", "skipped", "waived")
    if check.level == "warn":
        return Case(group, name, f"at level warn, which does not count; {check.outcome}: {said}", "skipped", "warning")
    if check.outcome == "not-comparable":
        return Case(group, name, said, "skipped", check.outcome)
    return Case(group, name, said, "failure" if check.outcome == "failed" else "error", check.outcome)


def _audit(shown: Shown) -> Iterator[Case]:
    """With gates it is they who judge the findings: what they let pass or waive is no error here."""
    yield Case("audit", "scan", _figures(shown.record))
    for entry in findings.entries(shown.record):
        is_broken = shown.gating is None and entry.group == "attack-health" and entry.level == "error"
        outcome = ("error", "attack-health") if is_broken else ("", "")
        yield Case(f"finding.{entry.rule}", entry.about, f"{entry.level}: {entry.sentence}", *outcome)
    for skipped in selection.skipped(shown.record):
        said = f"{text.sentence(skipped.detail)} ({text.name(skipped.reason)})"
        yield Case("not-measured", text.name(skipped.what), said, "skipped", "not-measured")


def _figures(record: AuditRecord) -> str:
    said = f"clean {record.accuracy_name} {text.percent(record.clean.value)} of {record.clean.total:,} images"
    result = selection.strongest(record)
    if result is None:
        return said
    return (
        f"{said}; {text.percent(result.robust_accuracy.value)} under {selection.labels(record)[result.perturbation.id]}"
    )


def _suite(name: str, cases: list[Case], shown: Shown, seconds: float = 0.0) -> ElementTree.Element:
    counts = Counter(case.outcome for case in cases)
    attributes = {
        "name": f"lsa-audit.{name}",
        "tests": str(len(cases)),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
        "time": f"{seconds if math.isfinite(seconds) else 0.0:.3f}",
        "timestamp": text.name(shown.record.timing.started_at),
    }
    suite = ElementTree.Element("testsuite", attributes)
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in _properties(shown):
        ElementTree.SubElement(properties, "property", {"name": key, "value": value})
    seen: Counter[tuple[str, str]] = Counter()
    for case in cases:
        seen[case.group, case.name] += 1
        suite.append(_case(case, seen[case.group, case.name]))
    return suite


def _case(case: Case, number: int) -> ElementTree.Element:
    """Readers of the format tell cases apart by their names alone, so a second one of a name gets a number."""
    name = case.name if number == 1 else f"{case.name} ({number})"
    element = ElementTree.Element("testcase", {"classname": f"lsa-audit.{case.group}", "name": name})
    if case.outcome:
        about = {"type": case.kind, "message": case.sentence}
        ElementTree.SubElement(element, case.outcome, about).text = case.sentence
    else:
        ElementTree.SubElement(element, "system-out").text = case.sentence
    return element


def _properties(shown: Shown) -> Iterator[tuple[str, str]]:
    record, gating = shown.record, shown.gating
    yield "tool version", text.name(record.tool_version)
    yield "model", text.name(record.model.name)
    yield "model weights sha256", text.name(record.model.weights_sha256)
    yield "data", text.name(record.data.name)
    yield "data sha256", text.name(record.data.sha256)
    if gating is not None:
        yield "verdict", gating.verdict
        yield "judged on", text.name(gating.judged_on)
        yield "baseline", text.DASH if gating.baseline is None else text.name(gating.baseline)
