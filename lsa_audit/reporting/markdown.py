"""The report as Markdown, with everything that comes from the record escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..page.view import Block, Card, Document, Facts, Gallery, Group, Notice, Paragraph, Section, Table
from .document import document
from .shown import Shown

# Of the characters that Markdown gives a meaning inside a line, `_` within a word and single dots have none.
SPECIAL = re.compile(r"[\\`*\[\]<>|~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
LINK_START = re.compile(r"(://|(?<=www)\.|(?<=mailto):|(?<=xmpp):|@)", re.IGNORECASE)
# GitHub looks for people, issues and emoji in the text that is left when Markdown is done: no escape stops it there.
REFERENCE = re.compile(
    r"(?<!\w)@(?=[a-z0-9])|#(?=\d)|(?<!\w)GH-(?=\d)|:(?=(?:100|1234|[-+]1|(?=[0-9_+-]*[a-z])[a-z0-9_+-]+):)",
    re.IGNORECASE,
)
NOTHING = "\N{ZERO WIDTH SPACE}"
LINE_START = re.compile(r"^(\d{1,9})([.)])(?=\s|$)|^([-+=#])")


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is: no markup, no HTML, no link, no new line or table cell.

    What GitHub would take for a person, an issue or an emoji is parted by a space of no width.

    >>> escape("a|b <i> layer_1"), escape("see #1")
    ('a\\|b \\<i\\> layer_1', 'see #&#8203;1')
    """
    line = REFERENCE.sub(lambda match: f"{match.group()}{NOTHING}", " ".join(text.split()))
    line = SPECIAL.sub(lambda match: f"\\{match.group()}", line)
    line = LINK_START.sub(lambda match: f"\\{match.group()}", line)
    line = LINE_START.sub(lambda match: f"{match[1]}\\{match[2]}" if match[1] else f"\\{match[3]}", line)
    return line.replace(NOTHING, "&#8203;")


def render(shown: Shown) -> str:
    """The whole report as GitHub-flavoured Markdown, without figures."""
    return page(document(shown))


def page(shown: Document) -> str:
    """A document as GitHub-flavoured Markdown."""
    lines = [f"# {escape(shown.title)}", "", escape(shown.subtitle), ""]
    for notice in shown.notices:
        lines += [*_notice(notice), ""]
    lines += [*_cards(shown.cards), ""]
    for section in (*shown.lead, *shown.sections):
        lines += _section(section)
    lines += ["---", "", escape(shown.footer), ""]
    return "\n".join(lines)


def _notice(notice: Notice) -> Iterator[str]:
    yield f"> **{escape(notice.title)}.**"
    yield f"> {escape(notice.text)}"


def _cards(cards: Iterable[Card]) -> Iterator[str]:
    yield from _grid(
        ("key figure", "value", ""), (False, True, False), ((card.label, card.value, card.note) for card in cards)
    )


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {escape(section.title)}", "")
    for block in section.blocks:
        yield from _block(block, level=3)


def _block(block: Block, level: int) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield from (escape(block.text), "")
    elif isinstance(block, Group):
        yield from (f"{'#' * level} {escape(block.title)}", "")
        for inner in block.blocks:
            yield from _block(inner, level + 1)
    elif isinstance(block, Facts):
        yield from (f"{'#' * level} {escape(block.caption)}", "")
        yield from (f"- {escape(label)}: {escape(value)}" for label, value in block.items)
        yield ""
    else:
        yield from _table(block.table if isinstance(block, Gallery) else block)


def _table(table: Table) -> Iterator[str]:
    yield from (f"**{escape(table.caption)}**", "")
    titles = tuple(column.title for column in table.columns)
    to_the_right = tuple(column.kind == "number" for column in table.columns)
    yield from _grid(titles, to_the_right, (row.cells for row in table.rows))
    yield ""
    if table.note:
        yield from (escape(table.note), "")


def _grid(titles: tuple[str, ...], to_the_right: tuple[bool, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _line(titles)
    yield "|" + "|".join("---:" if right else "---" for right in to_the_right) + "|"
    yield from (_line(row) for row in rows)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"
