"""The run as SARIF 2.1.0: findings and checks of gates as results, what was not measured as notifications."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from ..explanations import known, page, title
from ..page import text
from ..records import AuditRecord, Level
from ..records.gating import Gating, Outcome
from ..settings.gates import GATES
from . import places, selection
from .judged import exit_code, finding_level, useless_waivers
from .places import Location
from .shown import Shown

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
SEMANTIC = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
LEVELS: dict[str, Level] = {"warn": "warning", "error": "error"}
GRAVITY: tuple[Level, ...] = ("note", "warning", "error")
SAID: dict[Outcome, str] = {
    "passed": "passed",
    "failed": "failed",
    "inconclusive": "is inconclusive",
    "not-comparable": "cannot be compared",
}
ABOUT_FINDINGS = {
    "attack-health": "A sign that the attacks may not have worked, so that the figures of robustness are too high.",
    "result": "Something that the measurements show about the model.",
}

Json = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """One finding or check.

    Attributes:
        key: what it is about; with the rule and the model it stays the same from run to run.
        subject: the layer, attack or check by name.
        about: what results of this rule say, in a sentence.
    """

    rule: str
    level: Level
    message: str
    key: str
    subject: str
    place: Location | None
    about: str
    waiver: str | None = None
    outcome: Outcome | None = None


def render(shown: Shown) -> str:
    """A log of one run as indented JSON with a final newline."""
    return json.dumps(_log(shown), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _log(shown: Shown) -> Json:
    results = [*_findings(shown), *_checks(shown.gating)]
    rules: dict[str, list[Result]] = {}
    for result in results:
        rules.setdefault(result.rule, []).append(result)
    run = {
        "tool": {"driver": _driver(shown.record, rules)},
        "automationDetails": {"id": f"lsa-audit/{text.name(shown.record.model.name)}/"},
        "invocations": [_invocation(shown)],
        "results": list(_results(shown.record, results, list(rules))),
        "columnKind": "unicodeCodePoints",
        "properties": _provenance(shown.record),
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _findings(shown: Shown) -> Iterator[Result]:
    place = places.of_model(shown.record) or places.of_profile(shown.gating)
    for finding in shown.record.findings:
        yield Result(
            rule=text.name(finding.rule),
            level=finding_level(finding.level, shown.gating),
            message=_message(f"{text.name(finding.subject)}: {finding.message}"),
            key=finding.subject,
            subject=finding.subject,
            place=place,
            about=ABOUT_FINDINGS[finding.group],
        )


def _checks(gating: Gating | None) -> Iterator[Result]:
    if gating is None:
        return
    for check in gating.checks:
        if check.outcome != "passed":
            yield Result(
                rule=f"gate/{text.name(check.kind)}",
                level="note" if check.outcome == "not-comparable" else LEVELS[check.level],
                message=_message(f"{text.name(check.id)} {SAID[check.outcome]}: {check.sentence}"),
                key=check.id,
                subject=check.target or check.gate,
                place=places.of_gate(gating, check),
                about=_summary(check.kind),
                waiver=check.waiver,
                outcome=check.outcome,
            )


def _summary(kind: str) -> str:
    limited = GATES[kind].summary if kind in GATES else "A figure of the run."
    return f"{limited} The profile limits it, and the limit is broken, or the images do not decide whether it is."


def _message(sentence: str) -> str:
    """Plain text: SARIF reads braces as placeholders and brackets before parentheses as links."""
    plain = text.sentence(sentence).replace("{", "{{").replace("}", "}}").replace("](", "] (")
    return plain if plain.endswith((".", "!", "?")) else f"{plain}."


def _driver(record: AuditRecord, rules: dict[str, list[Result]]) -> Json:
    version = text.name(record.tool_version)
    semantic = {"semanticVersion": version} if SEMANTIC.fullmatch(version) else {}
    reasons = dict.fromkeys(entry.reason for entry in selection.skipped(record))
    return {
        "name": "lsa-audit",
        "version": version,
        **semantic,
        "rules": [_rule(rule, results) for rule, results in rules.items()],
        "notifications": [
            {"id": _reason_id(reason), "shortDescription": {"text": "Something could not be measured."}}
            for reason in reasons
        ],
    }


def _rule(rule: str, results: list[Result]) -> Json:
    explained = rule.removeprefix("gate/")
    topic = "gates" if rule.startswith("gate/") else "findings"
    is_known = known(topic, explained)
    words = title(topic, explained) if is_known else re.sub(r"[-_/]+", " ", rule)
    return {
        "id": rule,
        "shortDescription": {"text": _message(text.capitalized(words))},
        "fullDescription": {"text": _message(results[0].about)},
        "help": {
            "text": _message(f"lsa-audit explain {explained} tells what it means and what to do"),
            **({"markdown": page(topic, explained)} if is_known else {}),
        },
        "defaultConfiguration": {"level": max((result.level for result in results), key=GRAVITY.index)},
    }


def _results(record: AuditRecord, results: list[Result], rules: list[str]) -> Iterator[Json]:
    layers = {layer.name for layer in record.graph.layers}
    indices = {rule: index for index, rule in enumerate(rules)}
    seen: Counter[str] = Counter()
    for result in results:
        about = hashlib.sha256(json.dumps([result.rule, result.key, record.model.name]).encode()).hexdigest()[:32]
        seen[about] += 1
        fingerprint = f"{about}:{seen[about]}"
        logical = {"name": text.name(result.subject), "kind": "module" if result.subject in layers else "object"}
        location: Json = {"logicalLocations": [logical]}
        if result.place is not None:
            location["physicalLocation"] = _physical(result.place)
        # Where one result has suppressions, even none, all of them must.
        waived = {"kind": "external", "status": "accepted", "justification": text.sentence(result.waiver or "")}
        yield {
            "ruleId": result.rule,
            "ruleIndex": indices[result.rule],
            "level": result.level,
            "message": {"text": result.message},
            "locations": [location],
            # GitHub matches results by the first name, and would hash a line of the profile if it were missing.
            "partialFingerprints": {"primaryLocationLineHash": fingerprint, "lsaAudit/v1": fingerprint},
            "suppressions": [] if result.waiver is None else [waived],
            **({} if result.outcome is None else {"properties": {"outcome": result.outcome}}),
        }


def _physical(place: Location) -> Json:
    artifact = {"artifactLocation": {"uri": quote(place.file)}}
    return artifact if place.line is None else {**artifact, "region": {"startLine": place.line}}


def _invocation(shown: Shown) -> Json:
    code = exit_code(shown)
    return {
        "executionSuccessful": True,
        "exitCode": int(code),
        "exitCodeDescription": code.name.lower().replace("_", " "),
        **_times(shown.record),
        "toolExecutionNotifications": list(_not_measured(shown.record)),
        "toolConfigurationNotifications": [
            {"level": "warning", "message": {"text": _message(said)}} for said in useless_waivers(shown.gating)
        ],
    }


def _times(record: AuditRecord) -> Json:
    """Start and end in UTC; nothing where the record does not hold a time."""
    try:
        start = datetime.fromisoformat(record.timing.started_at)
        start = start.astimezone(UTC) if start.tzinfo else start.replace(tzinfo=UTC)
        end = start + timedelta(seconds=record.timing.duration_s)
    except (ValueError, OverflowError):
        return {}
    return {"startTimeUtc": _utc(start), "endTimeUtc": _utc(end)}


def _utc(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _reason_id(reason: str) -> str:
    return f"skipped/{text.name(reason)}"


def _not_measured(record: AuditRecord) -> Iterator[Json]:
    for entry in selection.skipped(record):
        yield {
            "descriptor": {"id": _reason_id(entry.reason)},
            "level": "warning",
            "message": {"text": _message(f"Not measured: {text.name(entry.what)}: {entry.detail}")},
        }


def _provenance(record: AuditRecord) -> Json:
    return {
        "model": text.name(record.model.name),
        "weightsSha256": text.name(record.model.weights_sha256),
        "data": text.name(record.data.name),
        "dataSha256": text.name(record.data.sha256),
        "images": record.data.samples,
        "schemaVersion": record.schema_version,
    }
