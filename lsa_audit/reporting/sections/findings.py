"""The findings; signs of failed attacks of one rule and level are one entry: there are many where attacks break."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...page import text
from ...page.view import Column, Paragraph, Row, Section, Table, Tone
from ...records import AuditRecord, Finding, FindingGroup, Level
from .. import selection

LEVELS: tuple[Level, ...] = ("error", "warning", "note")
LEVEL_TONES: dict[Level, Tone] = {"error": "bad", "warning": "warning", "note": "quiet"}
EXPLAINED = "lsa-audit explain ID tells what a rule means, how its threshold was set, and what to do."
NAMES = 4


@dataclass(frozen=True)
class FindingEntry:
    """The first finding of a rule at one level in words, how many more there are, and what else they are about."""

    level: Level
    group: FindingGroup
    rule: str
    about: str
    message: str
    more: int
    others: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The message, and what the others are about."""
        if not self.more:
            return self.message
        if not self.others:
            return f"{self.message} And {self.more:,} more about the same."
        lead = ", among them" if self.more > NAMES else ":"
        return f"{self.message} And {self.more:,} more{lead} {', '.join(self.others[:NAMES])}."


def section(record: AuditRecord) -> Section:
    """The findings, errors first."""
    found = entries(record)
    if not found:
        return Section("findings", "Findings", (Paragraph("No rule found anything to report."),))
    columns = (Column("level"), Column("about", "label"), Column("what was found"), Column("rule", "label"))
    rows = tuple(
        Row((entry.level, entry.about, entry.sentence, entry.rule), LEVEL_TONES[entry.level]) for entry in found
    )
    return Section("findings", "Findings", (Table("Findings, the gravest first", columns, rows, EXPLAINED),))


def entries(record: AuditRecord) -> tuple[FindingEntry, ...]:
    """What the rules found, errors first, else in the record's order; only signs of failed attacks are folded."""
    groups: dict[tuple[Level, str, str], list[Finding]] = {}
    for level in LEVELS:
        for finding in record.findings:
            if finding.level == level:
                apart = "" if finding.group == "attack-health" else finding.message
                groups.setdefault((level, finding.rule, apart), []).append(finding)
    return tuple(_entry(record, group) for group in groups.values())


def _entry(record: AuditRecord, group: list[Finding]) -> FindingEntry:
    first, *others = group
    about, *rest = dict.fromkeys(_named(record, (finding.subject for finding in group)))
    return FindingEntry(
        first.level,
        first.group,
        text.name(first.rule),
        about,
        text.sentence(first.message),
        len(others),
        tuple(rest),
    )


def _named(record: AuditRecord, subjects: Iterable[str]) -> list[str]:
    labels = selection.labels(record)
    return [labels.get(subject) or text.name(subject) for subject in subjects]
