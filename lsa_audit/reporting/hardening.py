"""A hardening in Markdown, HTML, JSON and on the terminal: the verdict first, then what it rests on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ..page import text
from ..page.view import Card, Document, Notice, Section, Tone
from ..records.hardening import Hardening, Verdict
from ..records.repair import Change
from . import html, markdown
from .sections import hardening as sections
from .sections import hardening_layers, hardening_subject, hardening_training
from .sections.repair import interval

WIDTH = 80
NAME_WIDTH = 19
HEADLINES: dict[Verdict, tuple[str, Tone]] = {
    "helped": ("The training helped", "good"),
    "not-helped": ("The training did not help", "warning"),
    "harmed": ("The training did harm", "bad"),
    "masked": ("The training did not help: gradient masking, not robustness", "bad"),
    "no-checkpoint": ("No model was written", "warning"),
}
SELF_LABELS = "Right means here: the same answer as the model gave on the unperturbed image before the training."


def to_json(record: Hardening) -> str:
    """The record as indented JSON with a final newline."""
    return record.model_dump_json(indent=2) + "\n"


def to_markdown(record: Hardening) -> str:
    """The report as GitHub-flavoured Markdown."""
    return markdown.page(document(record))


def to_html(record: Hardening) -> str:
    """The report as one self-contained page."""
    from .plots import training

    return html.page(document(record), training.figures(record))


def document(record: Hardening) -> Document:
    """What the report of a hardening shows."""
    images = text.quantity(record.test.samples, "test image")
    timing = f"{text.name(record.timing.started_at)}, {text.duration(record.timing.duration_s)}"
    version = text.name(record.tool_version)
    return Document(
        title=f"Hardening of {text.name(record.model.name)} on {text.name(record.test.name)}",
        subtitle=f"{text.sentence(record.title)}. Judged on {images}. {timing}, lsa-audit {version}.",
        notices=tuple(_notices(record)),
        cards=tuple(_cards(record)),
        lead=(sections.verdict(record),),
        sections=tuple(_sections(record)),
        footer=f"{text.DASH_MEANING} The unrounded figures are in hardening.json, version {record.hardening_version}.",
    )


def _sections(record: Hardening) -> Iterator[Section]:
    yield sections.before_and_after(record)
    yield sections.health(record)
    if record.scores:
        yield sections.scores(record)
    yield hardening_layers.section(record)
    yield hardening_training.section(record)
    yield hardening_subject.recipe(record)
    yield hardening_subject.subject(record)
    if record.skipped:
        yield hardening_subject.missing(record)
    yield hardening_subject.conditions(record)


def _whole(sentence: str) -> str:
    return text.capitalized(f"{text.sentence(sentence).rstrip('.')}.")


def _notices(record: Hardening) -> Iterator[Notice]:
    title, tone = HEADLINES[record.verdict]
    yield Notice(title, _whole(record.reason), tone)
    if record.log.ending in ("collapsed", "catastrophic-overfitting"):
        yield Notice(hardening_training.ENDINGS[record.log.ending], _whole(record.log.detail), "bad")
    if record.labels.source == "self":
        reason = f"{SELF_LABELS} Reason: {text.sentence(record.labels.reason)}"
        yield Notice("The figures are prediction stability, not accuracy", reason, "warning")


def _cards(record: Hardening) -> Iterator[Card]:
    named = record.before.accuracy_name
    for entry in sections.deciding(record):
        label = f"{text.capitalized(named)}, {text.name(entry.id)}"
        note = f"{text.percent(entry.before.value)} before; p {text.p_value(entry.p_value)}"
        yield Card(label, text.percent(entry.after.value), note)
    if not record.changes:
        yield Card(f"Clean {named} before", text.percent(record.before.clean.value), "nothing was judged after")
    kept = record.log.kept_epoch
    note = f"of {text.quantity(len(record.log.epochs), 'epoch')}"
    yield Card("Kept epoch", "none" if kept is None else text.count(kept), note)


def summary(record: Hardening) -> list[str]:
    """The verdict, the table of changes, layers, training and file, in lines of at most 80 columns."""
    lines = [f"{HEADLINES[record.verdict][0]}.", *textwrap.wrap(_whole(record.reason), WIDTH), ""]
    if record.changes:
        lines += [*_change_lines(record), ""]
    sentences = (
        *hardening_layers.sentences(record),
        hardening_training.sentence(record),
        hardening_subject.written(record),
    )
    for said in sentences:
        lines += textwrap.wrap(said, WIDTH)
    return lines


def _change_lines(record: Hardening) -> Iterator[str]:
    head = ("", "before", "after", "difference", "95 % interval", "p")
    rows = [head, *(_short_row(entry, entry in sections.deciding(record)) for entry in record.changes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *cells])
    yield "* decides"


def _short_row(entry: Change, decides: bool) -> tuple[str, ...]:
    return (
        f"{'*' if decides else ' '} {text.name(entry.id, NAME_WIDTH)}",
        text.percent(entry.before.value),
        text.percent(entry.after.value),
        text.percent(entry.difference),
        interval(entry),
        text.p_value(entry.p_value),
    )
