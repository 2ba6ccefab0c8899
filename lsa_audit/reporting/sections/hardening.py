"""The figures of a hardening: what decides, every attack before and after, attack health, the R&G score."""

from __future__ import annotations

from collections.abc import Iterator

from ...page import text
from ...page.view import Block, Column, Group, Paragraph, Row, Section, Table
from ...records import AuditRecord
from ...records.hardening import GridScore, Hardening
from ...records.repair import Change
from ...units import format_epsilon
from . import accuracy, attack_health, findings
from .repair import PAIRED, interval

CLEAN = "clean"
OWN = "decides, most like the training's attack"
DECIDES = "decides"
NOT_JUDGED = "No file was written, so nothing was judged after the training."
HEALTH_MEANING = (
    "A training can make attacks fail instead of the model robust. What the checks of the attacks found on the model "
    "before and on the one that was written:"
)
SCORE_MEANING = (
    "The R&G score is the plain sum of the accuracies in % over a grid of epsilons, clean included. It depends on the "
    "grid: only scores over the same grid can be compared. Under FGSM alone it says little, as a model that masks its "
    "gradients gains there too."
)


def verdict(record: Hardening) -> Section:
    """What the verdict rests on."""
    if not record.changes:
        return Section("findings", "Verdict", (Paragraph(NOT_JUDGED),))
    attacks = ", ".join(map(text.name, record.strongest)) or "no attack"
    decide = f"Decided by {attacks} and the clean {record.before.accuracy_name}, on the test images."
    own = _own(record)
    like = "" if own is None else f" {text.name(own)} is most like the training's attack: a gain under it is no proof."
    return Section("findings", "Verdict", (Paragraph(f"{decide}{like}"),))


def deciding(record: Hardening) -> tuple[Change, ...]:
    """The changes that decide, that of the clean images first: it may cost the verdict."""
    named = (CLEAN, *record.strongest)
    return tuple(entry for entry in record.changes if entry.id in named)


def _own(record: Hardening) -> str | None:
    """Id of the attack that is most like the one in training; None where none was in it."""
    return record.strongest[0] if record.strongest and record.recipe.get("at") != "none" else None


def before_and_after(record: Hardening) -> Section:
    """The same images before and after, without an attack and under each; before alone where nothing came after."""
    title = "Before and after"
    if not record.changes:
        return Section("changes", title, (Paragraph(NOT_JUDGED), accuracy.accuracy_table(record.before)))
    columns = (
        Column("images", "label"),
        Column("before", "number"),
        Column("after", "number"),
        Column("gained", "number"),
        Column("lost", "number"),
        Column("difference", "number"),
        Column("95 % interval", "number"),
        Column("p", "number"),
        Column("part in the verdict", "label"),
    )
    rows = tuple(_change_row(record, entry) for entry in record.changes)
    count = text.quantity(record.test.samples, "image")
    note = (
        f"{count} that were neither trained on nor used to choose. Gained: wrong before and right after; lost: "
        "reversed. p of a row is for that row alone."
    )
    caption = f"{text.capitalized(record.before.accuracy_name)} before and after"
    return Section("changes", title, (Paragraph(PAIRED), Table(caption, columns, rows, note)))


def _change_row(record: Hardening, entry: Change) -> Row:
    decides = entry in deciding(record)
    part = OWN if entry.id == _own(record) else DECIDES if decides else text.DASH
    cells = (
        text.name(entry.id),
        text.percent(entry.before.value),
        text.percent(entry.after.value),
        text.count(entry.gained),
        text.count(entry.lost),
        text.percent(entry.difference),
        interval(entry),
        text.p_value(entry.p_value),
        part,
    )
    return Row(cells, "" if decides else "quiet")


def health(record: Hardening) -> Section:
    """What the attack-health rules found before and after, each message as it is."""
    blocks: list[Block] = [Paragraph(HEALTH_MEANING)]
    if record.after is not None:
        blocks += [Paragraph(said) for said in _new_and_gone(record.before, record.after)]
    blocks.append(_health("Before", record.before))
    unknown = Group("After", (Paragraph(NOT_JUDGED),))
    blocks.append(unknown if record.after is None else _health("After", record.after))
    return Section("attack-health", "Attack health", tuple(blocks))


def _new_and_gone(before: AuditRecord, after: AuditRecord) -> Iterator[str]:
    first, second = _rules(before), _rules(after)
    for said, rules in (("after", second - first), ("before", first - second)):
        if rules:
            yield f"Found only {said}: {', '.join(sorted(map(text.name, rules)))}."


def _rules(audit: AuditRecord) -> set[str]:
    return {finding.rule for finding in audit.findings if finding.group == "attack-health"}


def _health(title: str, audit: AuditRecord) -> Group:
    said, _ = attack_health.line(audit)
    blocks: list[Table | Paragraph] = [Paragraph(f"{text.capitalized(said)}.")]
    rows = tuple(
        Row((entry.level, entry.about, entry.sentence, entry.rule), findings.LEVEL_TONES[entry.level])
        for entry in findings.entries(audit)
        if entry.group == "attack-health"
    )
    if rows:
        columns = (Column("level"), Column("about", "label"), Column("what was found"), Column("rule", "label"))
        blocks.append(Table(f"Findings {title.lower()}, the gravest first", columns, rows))
    return Group(title, tuple(blocks))


def scores(record: Hardening) -> Section:
    """One table for each attack that has a grid."""
    tables = tuple(_score_table(record, entry) for entry in record.scores)
    return Section("score", "R&G score", (Paragraph(SCORE_MEANING), *tables))


def _score_table(record: Hardening, entry: GridScore) -> Table:
    columns = (
        Column("epsilon", "label"),
        *(Column(format_epsilon(epsilon), "number") for epsilon in entry.epsilons),
        Column("score", "number"),
    )
    rows = (
        _score_row("before", entry.before, entry.score_before),
        _score_row("after", entry.after, entry.score_after),
    )
    caption = f"{text.capitalized(record.before.accuracy_name)} under {text.name(entry.attack)} at each epsilon"
    most = 100 * len(entry.epsilons)
    return Table(caption, columns, rows, f"A score over this grid is at most {most}.")


def _score_row(when: str, shares: tuple[float, ...], score: float) -> Row:
    return Row((when, *(text.percent(value) for value in shares), f"{score:.1f}"))
