"""What a report shows, before it takes a format: Markdown, HTML and the terminal render these and decide nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Tone = Literal["", "bad", "warning", "good", "quiet"]
ColumnKind = Literal["text", "number", "name", "label"]


@dataclass(frozen=True)
class Column:
    """A table column; `number` is set to the right; `name` (of a part of the model) and `label` may be long."""

    title: str
    kind: ColumnKind = "text"


@dataclass(frozen=True)
class Row:
    """One table row: plain text, not yet escaped for any format."""

    cells: tuple[str, ...]
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column heads its row. `note` says what was cut and what the columns mean."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def pick(self, *titles: str) -> Table:
        """The same rows with only the named columns, in the order given; a title that is not there is left out."""
        places = {column.title: place for place, column in enumerate(self.columns)}
        chosen = [places[title] for title in titles if title in places]
        rows = tuple(Row(tuple(row.cells[place] for place in chosen), row.tone) for row in self.rows)
        return replace(self, columns=tuple(self.columns[place] for place in chosen), rows=rows)


@dataclass(frozen=True)
class Facts:
    """Labels and values, e.g. what is known about the model."""

    caption: str
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Paragraph:
    """A sentence or more."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Group:
    """A titled part of a section; `folded` where a reader opens it on demand and the format can fold."""

    title: str
    blocks: tuple[Table | Facts | Paragraph, ...]
    folded: bool = False


@dataclass(frozen=True)
class Image:
    """A PNG file; `alternative` says in words what it shows."""

    caption: str
    alternative: str
    content: bytes


@dataclass(frozen=True)
class Exhibit:
    """Images that belong together, what is said of them, and their figures."""

    title: str
    text: str
    images: tuple[Image, ...]
    table: Table


@dataclass(frozen=True)
class Gallery:
    """Exhibits where the format can show images and there are any; else the table, which says the same in words."""

    exhibits: tuple[Exhibit, ...]
    table: Table


Block = Table | Facts | Paragraph | Group | Gallery


@dataclass(frozen=True)
class Section:
    """A titled part of the report; `key` is its anchor."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Card:
    """One key figure."""

    label: str
    value: str
    note: str
    tone: Tone = ""
    is_name: bool = False


@dataclass(frozen=True)
class Notice:
    """What a reader must know before the figures."""

    title: str
    text: str
    tone: Tone


@dataclass(frozen=True)
class Document:
    """The whole report; `lead` is what comes before the drawings, where a format has any."""

    title: str
    subtitle: str
    notices: tuple[Notice, ...]
    cards: tuple[Card, ...]
    lead: tuple[Section, ...]
    sections: tuple[Section, ...]
    footer: str
