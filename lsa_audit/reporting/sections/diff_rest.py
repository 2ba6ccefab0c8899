"""What could not be compared, findings and skipped things that came and went, and in what else the runs differ."""

from __future__ import annotations

from collections.abc import Sequence

from ...page import text
from ...page.view import Block, Column, Paragraph, Row, Section, Table
from ...records import Finding
from ...records.diff import RunDiff, Unlike
from .provenance import skipped_table

ALL_COMPARED = "Everything that one run has, the other has too, done in the same way."
NOT_COMPARED = "The rest of this page leaves these out, as one run lacks them or did them in another way."
ONE_SIDE = "A baseline keeps no environment, so environments are not compared."


def not_compared(diff: RunDiff) -> Section:
    """What is left out, and why."""
    title = "Not compared"
    if not diff.not_compared:
        return Section("not-compared", title, (Paragraph(ALL_COMPARED),))
    table = _unlike("What only one run has, or what was done in another way", diff.not_compared)
    return Section("not-compared", title, (Paragraph(NOT_COMPARED), table))


def left_out(unlike: Unlike) -> str:
    """One thing that is not compared, in a few words."""
    before, after = text.name(unlike.before, 60), text.name(unlike.after, 60)
    return f"{text.name(unlike.what, 60)} ({before} before, {after} after)"


def findings(diff: RunDiff) -> Section:
    """Findings that only one run has."""
    changes = diff.findings
    blocks: list[Block] = [Paragraph(found(diff))]
    for title, entries in (("New findings", changes.new), ("Findings that are gone", changes.gone)):
        if entries:
            blocks.append(_findings(title, entries))
    return Section("finding-changes", "Findings", tuple(blocks))


def skipped(diff: RunDiff) -> Section:
    """Things that only one run could not measure."""
    changes = diff.skipped
    blocks: list[Block] = [Paragraph(not_measured(diff))]
    for title, entries in (("Newly not measured", changes.new), ("Measured again", changes.gone)):
        if entries:
            blocks.append(skipped_table(title, entries))
    return Section("skipped", "Not measured", tuple(blocks))


def found(diff: RunDiff) -> str:
    """How many findings came, went and stayed, in one sentence."""
    changes = diff.findings
    return f"{text.quantity(len(changes.new), 'new finding')}, {len(changes.gone):,} gone, {changes.same:,} the same."


def not_measured(diff: RunDiff) -> str:
    """How many things came and went that could not be measured, in one sentence."""
    changes = diff.skipped
    return f"Not measured: {len(changes.new):,} newly, {len(changes.gone):,} no longer, {changes.same:,} as before."


def differences(diff: RunDiff) -> Section:
    """In what else the runs differ: model, data, environment."""
    blocks: list[Block] = []
    if not diff.environment_known:
        blocks.append(Paragraph(ONE_SIDE))
    if diff.differences:
        blocks.append(_unlike("Model, data, seed and environment", diff.differences))
    else:
        blocks.append(Paragraph("The models, the data and the seeds are the same."))
    return Section("differences", "What else is different", tuple(blocks))


def _unlike(caption: str, entries: Sequence[Unlike]) -> Table:
    columns = (Column("what", "label"), Column("before", "label"), Column("after", "label"))
    rows = (Row((text.name(each.what), text.name(each.before), text.name(each.after))) for each in entries)
    return Table(caption, columns, tuple(rows))


def _findings(caption: str, entries: Sequence[Finding]) -> Table:
    columns = (Column("level"), Column("about", "label"), Column("what was found"), Column("rule", "label"))
    rows = (
        Row((each.level, text.name(each.subject), text.sentence(each.message), text.name(each.rule)))
        for each in entries
    )
    return Table(caption, columns, tuple(rows))
