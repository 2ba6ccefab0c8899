from __future__ import annotations

from collections.abc import Iterator

import pytest

from lsa_audit.page.view import Block, Facts, Gallery, Group, Paragraph, Table
from lsa_audit.records import AuditRecord
from lsa_audit.reporting.document import document
from lsa_audit.reporting.shown import Shown

from .conftest import SAMPLES
from .shown_records import SHOWN, failed


def blocks(shown: Shown) -> Iterator[Block]:
    report = document(shown)
    pending: list[Block] = [block for part in (*report.lead, *report.sections) for block in part.blocks]
    while pending:
        block = pending.pop(0)
        if isinstance(block, Group):
            pending = [*block.blocks, *pending]
        if isinstance(block, Gallery):
            pending = [block.table, *(exhibit.table for exhibit in block.exhibits), *pending]
        yield block


def texts(shown: Shown) -> Iterator[str]:
    report = document(shown)
    yield from (report.title, report.subtitle, report.footer)
    for notice in report.notices:
        yield from (notice.title, notice.text)
    for card in report.cards:
        yield from (card.label, card.value, card.note)
    for block in blocks(shown):
        yield from block_texts(block)


def block_texts(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield block.text
    elif isinstance(block, Facts):
        yield from (part for item in block.items for part in item)
    elif isinstance(block, Table):
        yield from (block.caption, block.note, *(column.title for column in block.columns))
        yield from (cell for row in block.rows for cell in row.cells)
    elif isinstance(block, Gallery):
        for exhibit in block.exhibits:
            yield from (exhibit.title, exhibit.text)
            yield from (part for image in exhibit.images for part in (image.caption, image.alternative))
    else:
        yield block.title


@pytest.fixture(params=[*SAMPLES, *(f"shown-{name}" for name in SHOWN)])
def any_shown(request: pytest.FixtureRequest, samples: dict[str, AuditRecord], hostile_name: str) -> Shown:
    """Each sample record in turn, and each with gates and pictures."""
    name = request.param
    if name in samples:
        return Shown(samples[name])
    return SHOWN[name.removeprefix("shown-")](samples, hostile_name)


@pytest.mark.slow_for("every-layer")
def test_every_text_is_one_printable_line(any_shown: Shown) -> None:
    assert all(part.isprintable() for part in texts(any_shown))


@pytest.mark.slow_for("every-layer", "large")
def test_no_text_shows_none_or_what_is_not_finite(any_shown: Shown) -> None:
    for part in texts(any_shown):
        assert not {"None", "nan", "inf", "nan %"} & set(part.split()), part


def test_gates_lead_where_they_were_asked(samples: dict[str, AuditRecord]) -> None:
    report = document(failed())
    assert report.notices[0].title == "The gates fail"
    assert report.cards[0].label == report.lead[0].title == "Gates"
    without = document(Shown(samples["clean"]))
    assert "gates" not in [section.key for section in (*without.lead, *without.sections)]
    assert without.cards[0].label == "Clean accuracy"


def test_every_row_has_as_many_cells_as_the_table_has_columns(any_shown: Shown) -> None:
    tables = [block for block in blocks(any_shown) if isinstance(block, Table)]
    assert tables
    for table in tables:
        assert {len(row.cells) for row in table.rows} == {len(table.columns)}, table.caption


def test_an_interval_stands_beside_every_accuracy(any_record: AuditRecord) -> None:
    tables = [block for block in blocks(Shown(any_record)) if isinstance(block, Table)]
    table = next(table for table in tables if "perturbation" in table.caption)
    titles = [column.title for column in table.columns]
    assert titles.index("95 % interval") == titles.index(any_record.accuracy_name) + 1
    assert all("%" in row.cells[titles.index("95 % interval")] for row in table.rows)
    assert len(table.rows) == 1 + len(any_record.attacks)


def test_self_labels_are_never_called_accuracy(samples: dict[str, AuditRecord]) -> None:
    allowed = "The figures are prediction stability, not accuracy"
    named = [part for part in texts(Shown(samples["self-labels"])) if "accuracy" in part.lower() and part != allowed]
    assert named == []
    assert samples["self-labels"].labels.reason in " ".join(texts(Shown(samples["self-labels"])))
