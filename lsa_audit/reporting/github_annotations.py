"""The run as workflow commands of GitHub: each line that a step prints becomes a note beside the profile's gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..page import text
from ..records import AuditRecord, Level
from ..records.gating import GateCheck, Gating
from . import places, selection
from .judged import finding_level, useless_waivers
from .places import Location
from .sections import findings, overview
from .shown import Shown

# Of each level GitHub shows ten in a step, and hides the rest without a word.
MOST = 10
MESSAGE = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
PROPERTY = MESSAGE | str.maketrans({":": "%3A", ",": "%2C"})

Command = Literal["error", "warning", "notice"]
COMMANDS: dict[Level, Command] = {"error": "error", "warning": "warning", "note": "notice"}


@dataclass(frozen=True)
class Annotation:
    """One line, before it is escaped."""

    command: Command
    title: str
    message: str
    place: Location | None = None


def render(shown: Shown) -> str:
    """One command a line, errors first, the verdict at the head of the notices."""
    found = [*_verdict(shown), *_checks(shown.gating), *_findings(shown), *_missing(shown.record)]
    lines: list[str] = []
    for command in COMMANDS.values():
        of_level = [annotation for annotation in found if annotation.command == command]
        lines += map(_line, _most(of_level, command))
    return "".join(f"{line}\n" for line in lines)


def _most(annotations: list[Annotation], command: Command) -> list[Annotation]:
    rest = len(annotations) - MOST + 1
    if rest <= 1:
        return annotations
    more = f"{rest:,} more are not shown as annotations; the summary of the job lists them."
    return [*annotations[: MOST - 1], Annotation(command, "lsa-audit", more)]


def _verdict(shown: Shown) -> Iterator[Annotation]:
    said = "no gates were asked"
    if shown.gating is not None:
        said = f"the gates say {shown.gating.verdict} ({text.quantity(len(shown.gating.checks), 'check')})"
    yield Annotation("notice", "lsa-audit", f"{overview.title(shown.record)}: {said}.")


def _checks(gating: Gating | None) -> Iterator[Annotation]:
    if gating is None:
        return
    for check in gating.checks:
        if check.outcome != "passed":
            yield _check(check, places.of_gate(gating, check))
    for said in useless_waivers(gating):
        yield Annotation("warning", "waiver", said, places.of_profile(gating))


def _check(check: GateCheck, place: Location | None) -> Annotation:
    title, said = f"{text.name(check.id)} {check.outcome}", text.sentence(check.sentence)
    if check.waiver is not None:
        message = f"{said.rstrip('.')}. Waived: {text.sentence(check.waiver)}"
        return Annotation("notice", f"{title}, waived", message, place)
    if check.outcome == "not-comparable":
        return Annotation("notice", title, said, place)
    return Annotation("error" if check.level == "error" else "warning", title, said, place)


def _findings(shown: Shown) -> Iterator[Annotation]:
    place = places.of_profile(shown.gating)
    for entry in findings.entries(shown.record):
        command = COMMANDS[finding_level(entry.level, shown.gating)]
        yield Annotation(command, f"{entry.rule}: {entry.about}", entry.sentence, place)


def _missing(record: AuditRecord) -> Iterator[Annotation]:
    for entry in selection.skipped(record):
        said = f"{text.name(entry.what)}: {text.sentence(entry.detail)} ({text.name(entry.reason)})"
        yield Annotation("notice", "not measured", said)


def _line(annotation: Annotation) -> str:
    properties = {"title": annotation.title}
    if annotation.place is not None:
        line = {} if annotation.place.line is None else {"line": str(annotation.place.line)}
        properties = {"file": text.name(annotation.place.file), **line, **properties}
    written = ",".join(f"{key}={value.translate(PROPERTY)}" for key, value in properties.items())
    return f"::{annotation.command} {written}::{annotation.message.translate(MESSAGE)}"
