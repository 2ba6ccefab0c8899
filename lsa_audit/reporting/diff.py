"""Two runs side by side on the terminal, in Markdown, HTML and JSON: what is left out first, then what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..page import text
from ..page.view import Card, Document, Notice, Paragraph, Section
from ..records.diff import RunDiff
from . import diff_terminal, html, markdown
from .sections import diff_images, diff_layers, diff_overview, diff_rest
from .sections.diff_words import NAME_WIDTH, TRENDS, condition, points

NAMED = 3
"""Of the things left out, in the notice; their section holds them all."""


def to_json(diff: RunDiff) -> str:
    """The record as indented JSON with a final newline."""
    return diff.model_dump_json(indent=2) + "\n"


def to_markdown(diff: RunDiff) -> str:
    """The report as GitHub-flavoured Markdown."""
    return markdown.page(document(diff))


def to_html(diff: RunDiff) -> str:
    """The report as one self-contained page."""
    from .plots import diff as plots

    return html.page(document(diff), plots.figures(diff))


FORMATS: dict[str, Callable[[RunDiff], str]] = {
    "terminal": diff_terminal.render,
    "markdown": to_markdown,
    "html": to_html,
    "json": to_json,
}


def document(diff: RunDiff) -> Document:
    """What the report of a diff shows."""
    images = text.quantity(diff.images, "image")
    before, after = diff_overview.described(diff.before), diff_overview.described(diff.after)
    return Document(
        title=f"From {text.name(diff.before.name, NAME_WIDTH)} to {text.name(diff.after.name, NAME_WIDTH)}",
        subtitle=f"What got better and worse on {images} that both have. Before: {before}. After: {after}. "
        f"lsa-audit {text.name(diff.tool_version)}.",
        notices=tuple(_notices(diff)),
        cards=tuple(_cards(diff)),
        lead=(Section("overview", "In short", tuple(map(Paragraph, diff_overview.sentences(diff)))),),
        sections=(
            diff_rest.not_compared(diff),
            diff_images.accuracy(diff),
            diff_images.classes(diff),
            diff_images.images(diff),
            diff_layers.layers(diff),
            diff_layers.neurons(diff),
            diff_rest.findings(diff),
            diff_rest.skipped(diff),
            diff_rest.differences(diff),
        ),
        footer=f"{text.DASH_MEANING} The unrounded figures are in the JSON, version {diff.diff_version}.",
    )


def _notices(diff: RunDiff) -> Iterator[Notice]:
    if diff.not_compared:
        rest = len(diff.not_compared) - NAMED
        said = "; ".join(map(diff_rest.left_out, diff.not_compared[:NAMED]))
        said = f"Left out: {said}{f'; and {rest:,} more' if rest > 0 else ''}."
        yield Notice("Not everything can be compared", said, "warning")
    yield from diff_overview.notices(diff)


def _cards(diff: RunDiff) -> Iterator[Card]:
    by_id = {entry.id: entry for entry in diff.accuracy}
    for flipped in diff.flipped:
        entry = by_id[flipped.under]
        label = f"{text.capitalized(diff.accuracy_name)} {condition(entry.id)}"
        note = f"{text.percent(entry.before.value)} before; {points(entry.difference)} points, {TRENDS[entry.trend]}"
        yield Card(label, text.percent(entry.after.value), note, "warning" if entry.trend == "worse" else "")
    last = diff.flipped[-1]
    label = f"Images newly wrong {condition(last.under)}"
    yield Card(label, text.count(last.newly_wrong), f"{last.newly_right:,} newly right")
