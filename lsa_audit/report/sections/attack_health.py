"""Attack health: whether the attacks worked at all, one row for each check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...records import AuditRecord, Finding, Level
from .. import selection, text
from ..view import Column, Paragraph, Row, Section, Table, Tone
from .checks import CHECKS, Seen
from .findings import LEVEL_TONES, LEVELS

MEANING = (
    "A model is not robust because an attack failed. Each check looks for a sign that one did; an error means that a "
    "robustness figure could be too high because of it."
)
NOTE = (
    "One row for each check, with the worst case; a check of single attacks counts the others that it found fault "
    "with. Not examined: nothing that was run has what the check looks at. Robust verdicts: images that an attack left "
    "right."
)
NOT_EXAMINED = "not examined"
GRAVITY: dict[Level | None, int] = {None: 0, "note": 1, "warning": 2, "error": 3}


@dataclass(frozen=True)
class Check:
    """One check: `level` None where no finding came of it, `worst` None where it had nothing to look at."""

    rule: str
    level: Level | None
    worst: Seen | None
    findings: int

    @property
    def result(self) -> str:
        """The gravest level, or why there is none."""
        if self.level is None:
            return NOT_EXAMINED if self.worst is None else "fine"
        return self.level


def section(record: AuditRecord) -> Section:
    """The verdict in a sentence, then the checks in the order of the rules."""
    blocks: list[Paragraph | Table] = [Paragraph(MEANING), Paragraph(_verdict(record))]
    if record.health is not None:
        blocks.append(_table(record))
    return Section("attack-health", "Attack health", tuple(blocks))


def line(record: AuditRecord) -> tuple[str, Tone]:
    """The verdict in a few words, with the worst check."""
    made = checks(record)
    worst = max(made, key=lambda check: GRAVITY[check.level])
    if worst.level is None or worst.level == "note":
        if record.health is None:
            return NOT_EXAMINED, "quiet"
        return f"fine ({_examined(made)} of {len(made)} checks made)", ""
    seen = "" if worst.worst is None else f": {worst.worst.words}"
    return f"{_counted(made)}; the worst is {text.name(worst.rule)}{seen}", LEVEL_TONES[worst.level]


def checks(record: AuditRecord) -> tuple[Check, ...]:
    """Every check in the order of the rules, then the findings of the group that belong to none of them."""
    found: dict[str, list[Finding]] = {rule: [] for rule in CHECKS}
    for finding in record.findings:
        if finding.group == "attack-health":
            found.setdefault(finding.rule, []).append(finding)
    return tuple(_check(record, rule, findings) for rule, findings in found.items())


def _check(record: AuditRecord, rule: str, findings: list[Finding]) -> Check:
    levels: dict[str, Level] = {}
    for finding in sorted(findings, key=lambda finding: GRAVITY[finding.level]):
        levels[finding.subject] = finding.level
    seen = list(CHECKS[rule](record)) if rule in CHECKS else []
    if findings:
        seen = [one for one in seen if one.subject in levels or not one.subject]
    worst = max(seen, key=lambda one: (GRAVITY[levels.get(one.subject)], one.degree), default=None)
    level = max(levels.values(), key=lambda level: GRAVITY[level], default=None)
    return Check(rule, level, worst, len(findings))


def _verdict(record: AuditRecord) -> str:
    made = checks(record)
    doubts = sum(check.level in ("error", "warning") for check in made)
    if doubts:
        judged = f"{text.quantity(doubts, 'check')} in doubt: {_counted(made)}. Each is among the findings."
    elif record.health is None:
        return "Not examined: the record does not hold what the checks look at."
    else:
        judged = f"No check is in doubt; {_examined(made)} of {len(made)} could be made."
    inconclusive = " The robustness figures are inconclusive, not robust." if record.inconclusive else ""
    unknown = (
        "" if record.health else " The figures behind the checks were not examined: the record does not hold them."
    )
    return f"{judged}{inconclusive}{unknown}"


def _counted(made: tuple[Check, ...]) -> str:
    numbers = {level: sum(check.level == level for check in made) for level in LEVELS}
    return ", ".join(text.quantity(number, level) for level, number in numbers.items() if number)


def _examined(made: tuple[Check, ...]) -> int:
    return sum(check.result != NOT_EXAMINED for check in made)


def _table(record: AuditRecord) -> Table:
    columns = (Column("check", "label"), Column("what was seen"), Column("where", "label"), Column("result", "label"))
    return Table("Checks of the attacks and of the model", columns, tuple(_rows(record)), NOTE)


def _rows(record: AuditRecord) -> Iterator[Row]:
    named = selection.labels(record)
    for check in checks(record):
        tone: Tone = LEVEL_TONES[check.level] if check.level else "quiet" if check.worst is None else ""
        unseen = "see the findings" if check.level else text.DASH
        words = unseen if check.worst is None else check.worst.words
        yield Row((text.name(check.rule), words, _where(check, named), check.result), tone)


def _where(check: Check, named: dict[str, str]) -> str:
    if check.worst is None:
        return text.DASH
    if not check.worst.subject:
        return "the model"
    if not check.worst.degree:
        return "all"
    place = named.get(check.worst.subject) or text.name(check.worst.subject)
    return f"{place} and {check.findings - 1} more" if check.findings > 1 else place
