"""The members of an ensemble of attacks: what each one did, and what was left out against the published settings."""

from __future__ import annotations

from collections.abc import Iterator

from ...page import text
from ...page.view import Column, Group, Paragraph, Row, Table
from ...records import AttackResult, AttackStage, AuditRecord
from .. import selection

# Steps (queries for square) and target classes as published: Croce, Hein, ICML 2020, arXiv 2003.01690.
PUBLISHED = {"apgd-ce": (100, 0), "apgd-t": (100, 9), "fab-t": (100, 9), "square": (5_000, 0)}
UNITS = {"square": "queries"}
MEANING = (
    "Each member of an ensemble works on the images that those before it left right. Steps: of each search, one for "
    "each class where classes are aimed at; queries for square. Not needed: no image was left. Forwards and backwards "
    "are images sent through the model."
)


def blocks(record: AuditRecord) -> Iterator[Paragraph | Group]:
    """What was left out, once for each ensemble, and a table for each of its epsilons, folded where there are more."""
    shown = [result for result in record.attacks if result.stages]
    named = selection.labels(record)
    if shown:
        yield Paragraph(MEANING)
    for sentence in dict.fromkeys(_against_published(record, result) for result in shown):
        yield Paragraph(sentence)
    for result in shown:
        yield Group(f"Members of {named[result.perturbation.id]}", (_table(result),), folded=len(shown) > 1)


def summaries(record: AuditRecord) -> Iterator[str]:
    """For each ensemble, at the epsilon where it fools most: how many images each member fooled, what was left out."""
    strongest: dict[str, AttackResult] = {}
    for result in sorted(record.attacks, key=lambda result: result.fooled):
        if result.stages:
            strongest[selection.attack_name(result.perturbation)] = result
    for result in strongest.values():
        members = ", ".join(f"{text.name(stage.name, 20)} {_fooled(stage)}" for stage in result.stages)
        label = selection.labels(record)[result.perturbation.id]
        missing, cut = _gaps(record, result)
        parts = [f"left out {', '.join(missing)}"] if missing else []
        parts += [f"cut short {', '.join(cut)}"] if cut else []
        yield f"{'; '.join((f'{label}: fooled by {members}', *parts))}."


def _against_published(record: AuditRecord, result: AttackResult) -> str:
    missing, cut = _gaps(record, result)
    parts = [f"left out {', '.join(missing)}"] if missing else []
    if cut:
        parts.append(f"cut {'; '.join(f'{member} to {less}' for member, less in cut.items())}")
    name = selection.attack_name(result.perturbation)
    return f"Against the published settings {name} {' and '.join(parts) or 'left out nothing'}."


def _gaps(record: AuditRecord, result: AttackResult) -> tuple[list[str], dict[str, str]]:
    """The published members that are not there, and what the others did less of, in words."""
    stages = {stage.name: stage for stage in result.stages}
    less = {name: _less(stages[name], record.model.classes) for name in PUBLISHED if name in stages}
    return [name for name in PUBLISHED if name not in stages], {name: words for name, words in less.items() if words}


def _less(stage: AttackStage, classes: int) -> str:
    steps, targets = PUBLISHED[stage.name]
    targets = min(targets, classes - 1)
    parts = []
    # 0 where no image was attacked at all: then nobody knew how many classes there are to aim at.
    if 0 < stage.classes < targets:
        parts.append(f"{stage.classes} of {targets} classes")
    if stage.steps < steps:
        parts.append(f"{stage.steps:,} of {steps:,} {UNITS.get(stage.name, 'steps')}")
    return " and ".join(parts)


def _table(result: AttackResult) -> Table:
    columns = (
        Column("member", "label"),
        Column("steps", "number"),
        Column("classes", "number"),
        Column("images", "number"),
        Column("fooled", "number"),
        Column("forwards", "number"),
        Column("backwards", "number"),
    )
    return Table("What each member did", columns, tuple(_row(stage) for stage in result.stages))


def _row(stage: AttackStage) -> Row:
    steps = (text.name(stage.name), text.count(stage.steps), text.count(stage.classes) if stage.classes else text.DASH)
    if not stage.images:
        return Row((*steps, "not needed", text.DASH, text.DASH, text.DASH), "quiet")
    work = (stage.images, stage.fooled, stage.forwards, stage.backwards)
    return Row((*steps, *(text.count(number) for number in work)))


def _fooled(stage: AttackStage) -> str:
    return text.count(stage.fooled) if stage.images else "(not needed)"
