from __future__ import annotations

from collections.abc import Iterator

from lsa_audit.records import AuditRecord
from lsa_audit.report.document import document
from lsa_audit.report.view import Block, Facts, Group, Paragraph, Table


def blocks(record: AuditRecord) -> Iterator[Block]:
    shown = document(record)
    pending: list[Block] = [block for part in (shown.findings, *shown.sections) for block in part.blocks]
    while pending:
        block = pending.pop(0)
        yield block
        if isinstance(block, Group):
            pending = [*block.blocks, *pending]


def texts(record: AuditRecord) -> Iterator[str]:
    shown = document(record)
    yield from (shown.title, shown.subtitle, shown.footer)
    for notice in shown.notices:
        yield from (notice.title, notice.text)
    for card in shown.cards:
        yield from (card.label, card.value, card.note)
    for block in blocks(record):
        if isinstance(block, Paragraph):
            yield block.text
        elif isinstance(block, Facts):
            yield from (part for item in block.items for part in item)
        elif isinstance(block, Table):
            yield from (block.caption, block.note, *(column.title for column in block.columns))
            yield from (cell for row in block.rows for cell in row.cells)
        else:
            yield block.title


def test_every_text_is_one_printable_line(any_record: AuditRecord) -> None:
    assert all(part.isprintable() for part in texts(any_record))


def test_no_text_shows_none_or_what_is_not_finite(any_record: AuditRecord) -> None:
    for part in texts(any_record):
        assert not {"None", "nan", "inf", "nan %"} & set(part.split()), part


def test_every_row_has_as_many_cells_as_the_table_has_columns(any_record: AuditRecord) -> None:
    tables = [block for block in blocks(any_record) if isinstance(block, Table)]
    assert tables
    for table in tables:
        assert {len(row.cells) for row in table.rows} == {len(table.columns)}, table.caption


def test_an_interval_stands_beside_every_accuracy(any_record: AuditRecord) -> None:
    table = next(block for block in blocks(any_record) if isinstance(block, Table) and "perturbation" in block.caption)
    titles = [column.title for column in table.columns]
    assert titles.index("95 % interval") == titles.index(any_record.accuracy_name) + 1
    assert all("%" in row.cells[titles.index("95 % interval")] for row in table.rows)
    assert len(table.rows) == 1 + len(any_record.attacks)


def test_self_labels_are_never_called_accuracy(samples: dict[str, AuditRecord]) -> None:
    allowed = "The figures are prediction stability, not accuracy"
    named = [part for part in texts(samples["self-labels"]) if "accuracy" in part.lower() and part != allowed]
    assert named == []
    assert samples["self-labels"].labels.reason in " ".join(texts(samples["self-labels"]))
