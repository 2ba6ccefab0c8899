"""Shares of right images before and after, their classes, and the images whose verdict changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...page import text
from ...page.view import Block, Column, Group, Paragraph, Row, Section, Table
from ...records.diff import CLASS_IMAGES, AccuracyChange, ClassTable, FlippedImages, RunDiff, ShareChange
from .diff_words import TONES, TRENDS, condition, largest, listed, points

CLASS_LIMIT = 40
PAIRED = (
    "Before and after are the same images. The difference in points has its 95 % interval (adjusted Wald for pairs); p "
    "is the exact two-sided McNemar test after Holm over the rows of its table. A row says better or worse where p is "
    "at most 0.05; else no difference is shown, which does not mean that there is none."
)
GAINED = "Gained: wrong before and right after; lost: right before and wrong after."
NAMED = {
    "image-id": "Images are named by their ids.",
    "digest": "Images are named by their digests, as no side keeps their ids.",
    "row": "Images are named by their rows from 0, as no side keeps their ids or digests.",
}
NUMBERS = ("before", "after", "gained", "lost", "difference", "95 % interval", "p")


def cells(change: ShareChange) -> tuple[str, ...]:
    """The figures of a row, in the order of `NUMBERS`."""
    return (
        text.percent(change.before.value),
        text.percent(change.after.value),
        text.count(change.gained),
        text.count(change.lost),
        points(change.difference),
        f"{points(change.low)} to {points(change.high)}",
        text.p_value(change.p_adjusted),
    )


def accuracy(diff: RunDiff) -> Section:
    """Clean, every ball and every perturbation."""
    title = f"{text.capitalized(diff.accuracy_name)} before and after"
    balls = [f"{text.name(entry.id)}: right under {listed(entry.attacks)}." for entry in diff.accuracy if entry.attacks]
    note = " ".join((f"{text.quantity(diff.images, 'image')}. {GAINED}", *balls))
    return Section("accuracy", title, (Paragraph(PAIRED), _table(title, "images", diff.accuracy, note)))


def classes(diff: RunDiff) -> Section:
    """The classes without attack and where the fewest images stay right."""
    title = "Classes"
    if diff.classes_unknown is not None:
        return Section("classes", title, (Paragraph(text.sentence(diff.classes_unknown)),))
    return Section("classes", title, tuple(_classes(table) for table in diff.classes))


def images(diff: RunDiff) -> Section:
    """Which images changed."""
    blocks: list[Block] = [Paragraph(NAMED[diff.named_by])]
    for flipped in diff.flipped:
        blocks.append(Group(text.capitalized(condition(flipped.under)), tuple(map(Paragraph, _flipped(flipped)))))
    return Section("images", "Images", tuple(blocks))


def flips(flipped: FlippedImages) -> str:
    """How many images changed, in one sentence."""
    where = text.capitalized(condition(flipped.under))
    wrong = f"{text.quantity(flipped.newly_wrong, 'image')} newly wrong"
    return f"{where}: {wrong}, {flipped.newly_right:,} newly right."


def differing(rows: Sequence[AccuracyChange]) -> str:
    """In which rows a difference is shown, in one sentence."""
    named = {word: [row.id for row in rows if row.trend == word] for word in ("worse", "better")}
    parts = [f"{word} in {len(ids):,} ({listed(ids)})" for word, ids in named.items() if ids]
    of = f"Of {text.quantity(len(rows), 'share')} of right images"
    return f"{of}: {', '.join(parts)}." if parts else f"{of} none shows a difference."


def differing_classes(diff: RunDiff) -> Iterator[str]:
    """Which classes show a difference, in sentences."""
    for table in diff.classes:
        for word in ("worse", "better"):
            if names := [row.id for row in table.classes if row.trend == word]:
                yield f"Classes that got {word} {condition(table.under)}: {listed(names)}."


def _table(caption: str, first: str, changes: Sequence[ShareChange], note: str) -> Table:
    columns = (Column(first, "label"), *(Column(title, "number") for title in NUMBERS), Column("verdict", "label"))
    rows = [Row((text.name(each.id), *cells(each), TRENDS[each.trend]), TONES[each.trend]) for each in changes]
    return Table(caption, columns, tuple(rows), note)


def _classes(table: ClassTable) -> Table:
    shown = largest(table.classes, CLASS_LIMIT, lambda each: each.difference)
    notes = [GAINED]
    if rest := len(table.classes) - len(shown):
        notes.append(f"The {CLASS_LIMIT} classes that changed most; {rest:,} more are in the JSON.")
    if table.left_out:
        noun = "class" if table.left_out == 1 else "classes"
        notes.append(f"Left out: {table.left_out:,} {noun} with fewer than {CLASS_IMAGES} images.")
    return _table(f"Classes {condition(table.under)}", "class", shown, " ".join(notes))


def _flipped(flipped: FlippedImages) -> Iterator[str]:
    for word, count, names in (
        ("wrong", flipped.newly_wrong, flipped.wrong_images),
        ("right", flipped.newly_right, flipped.right_images),
    ):
        if not count:
            yield f"No image is newly {word}."
            continue
        rest = count - len(names)
        shown = ", ".join(text.name(name) for name in names)
        more = f" and {rest:,} more" if shown and rest else ""
        yield f"Newly {word}, {text.quantity(count, 'image')}{': ' if shown else ''}{shown}{more}."
