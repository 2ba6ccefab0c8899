"""Attack health: whether the attacks worked at all, one row for each check, as the record holds them."""

from __future__ import annotations

from collections.abc import Iterator

from ...page import text
from ...page.view import Column, Paragraph, Row, Section, Table, Tone
from ...records import AuditRecord, Check, Finding, Level
from .. import selection
from .findings import LEVEL_TONES, LEVELS

MEANING = (
    "A model is not robust because an attack failed. Each check looks for a sign that one did; an error means that a "
    "robustness figure could be too high because of it."
)
NOTE = (
    "One row for each check, with the worst case; a check of single attacks counts the others that it found fault "
    "with. Not run: the record was written before this check existed, or lacks what it looks at. Robust verdicts: "
    "images that an attack left right."
)
NOT_RUN, NOT_APPLICABLE = "not run", "not applicable"
OLDER = "the record does not hold this check; scan again"
GRAVITY: dict[Level | None, int] = {None: 0, "note": 1, "warning": 2, "error": 3}


def section(record: AuditRecord) -> Section:
    """The verdict in a sentence, then the checks in the order of the rules."""
    made = checks(record)
    blocks: list[Paragraph | Table] = [Paragraph(MEANING), Paragraph(_verdict(record, made))]
    if any(check.outcome == "ran" for check in made):
        blocks.append(_table(record, made))
    return Section("attack-health", "Attack health", tuple(blocks))


def line(record: AuditRecord) -> tuple[str, Tone]:
    """The verdict in a few words, with the worst check."""
    made = checks(record)
    worst = max(made, key=lambda check: GRAVITY[check.level])
    if worst.level is None or worst.level == "note":
        ran = _ran(made)
        return (f"fine ({ran} of {len(made)} checks made)", "") if ran else (NOT_RUN, "quiet")
    seen = f": {_words(worst, selection.labels(record))}" if worst.seen else ""
    return f"{_counted(made)}; the worst is {text.name(worst.rule)}{seen}", LEVEL_TONES[worst.level]


def checks(record: AuditRecord) -> tuple[Check, ...]:
    """The checks of today in order, those that the record lacks as not run, then what it holds besides.

    An older record has findings without checks: they say that a rule ran, and nothing of its figure.
    """
    # The rules need scipy, which takes as long to import as a report to write.
    from ...findings import HEALTH_RULES

    stored = {check.rule: check for check in record.checks if check.group == "attack-health"}
    found: dict[str, list[Finding]] = {}
    for finding in record.findings:
        if finding.group == "attack-health":
            found.setdefault(finding.rule, []).append(finding)
    return tuple(
        stored.get(rule) or _unstored(rule, found.get(rule, []))
        for rule in dict.fromkeys((*HEALTH_RULES, *stored, *found))
    )


def result(check: Check) -> str:
    """The gravest level, `fine`, or why there is none."""
    if check.outcome == "ran":
        return check.level or "fine"
    return NOT_RUN if check.outcome == "not-run" else NOT_APPLICABLE


def _unstored(rule: str, findings: list[Finding]) -> Check:
    if not findings:
        return Check(rule=rule, version=0, group="attack-health", outcome="not-run", reason=OLDER)
    level = max((finding.level for finding in findings), key=lambda level: GRAVITY[level])
    return Check(
        rule=rule, version=0, group="attack-health", outcome="ran", level=level, findings=len(findings), seen=""
    )


def _verdict(record: AuditRecord, made: tuple[Check, ...]) -> str:
    doubts = sum(check.level in ("error", "warning") for check in made)
    ran = _ran(made)
    if doubts:
        judged = f"{text.quantity(doubts, 'check')} in doubt: {_counted(made)}. Each is among the findings."
    elif not ran:
        return "Not run: the record does not hold the checks. Scan again to have them."
    else:
        judged = f"No check is in doubt; {ran} of {len(made)} could be made."
    inconclusive = " The robustness figures are inconclusive, not robust." if record.inconclusive else ""
    lacking = sum(check.outcome == "not-run" for check in made)
    older = f" {text.quantity(lacking, 'check')} not run: the record does not hold them." if lacking else ""
    return f"{judged}{inconclusive}{older}"


def _counted(made: tuple[Check, ...]) -> str:
    numbers = {level: sum(check.level == level for check in made) for level in LEVELS}
    return ", ".join(text.quantity(number, level) for level, number in numbers.items() if number)


def _ran(made: tuple[Check, ...]) -> int:
    return sum(check.outcome == "ran" for check in made)


def _table(record: AuditRecord, made: tuple[Check, ...]) -> Table:
    columns = (Column("check", "label"), Column("what was seen"), Column("where", "label"), Column("result", "label"))
    return Table("Checks of the attacks and of the model", columns, tuple(_rows(record, made)), NOTE)


def _rows(record: AuditRecord, made: tuple[Check, ...]) -> Iterator[Row]:
    named = selection.labels(record)
    for check in made:
        tone: Tone = LEVEL_TONES[check.level] if check.level else "quiet" if check.outcome != "ran" else ""
        yield Row((text.name(check.rule), _words(check, named), _where(check, named), result(check)), tone)


def _words(check: Check, named: dict[str, str]) -> str:
    """What was seen, or why nothing was."""
    if check.outcome != "ran":
        return text.sentence(check.reason) or text.DASH
    if not check.seen:
        return "see the findings" if check.level else text.DASH
    by = f", fooled by {named.get(check.by) or text.name(check.by)}" if check.by else ""
    return f"{text.sentence(check.seen)}{by}"


def _where(check: Check, named: dict[str, str]) -> str:
    if check.outcome != "ran" or not check.seen:
        return text.DASH
    if not check.subject:
        return "the model"
    if not check.level and not check.figure:
        return "all"
    place = named.get(check.subject) or text.name(check.subject)
    return f"{place} and {check.findings - 1} more" if check.findings > 1 else place
