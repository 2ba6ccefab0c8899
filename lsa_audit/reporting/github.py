"""The run as a summary of a GitHub job: the verdict first, in at most 1 MiB of Markdown."""

from __future__ import annotations

from dataclasses import replace

from ..page import text
from ..page.view import Document, Section
from .document import document
from .markdown import page
from .sections import accuracy, provenance
from .shown import Shown

# GitHub refuses what is above 1 MiB; the rest is for what other steps of the job write.
LIMIT_BYTES = 1_000_000


def render(shown: Shown) -> str:
    """The verdict, the key figures, the checks, the findings, the accuracies, and what was not measured."""
    return cut(page(_document(shown)), LIMIT_BYTES)


def _document(shown: Shown) -> Document:
    record = shown.record
    title = text.capitalized(record.accuracy_name)
    return replace(
        document(shown),
        sections=(Section("accuracy", title, (accuracy.accuracy_table(record),)), provenance.missing(record)),
        footer="The whole report is in the folder of the run, as report.html and report.md.",
    )


def cut(summary: str, limit: int) -> str:
    """The first lines of a summary, with a sentence on what is left out where it has more than `limit` bytes."""
    if len(summary.encode()) <= limit:
        return summary
    lines = summary.split("\n")
    # The sentence on what is left out names a few sections and stays far below this.
    left, kept = limit - 2_000, 0
    while left >= (size := len(lines[kept].encode()) + 1):
        left, kept = left - size, kept + 1
    return "\n".join([*lines[:kept], "", _left_out(lines[kept:]), ""])


def _left_out(lines: list[str]) -> str:
    # Of the lines of a table the first is its head, and the second starts otherwise.
    heads = sum(line.startswith("|-") for line in lines)
    rows = text.quantity(sum(line.startswith("| ") for line in lines) - heads, "row")
    titles = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    sections = f" and the sections {', '.join(titles)}" if titles else ""
    where = "The report.md in the folder of the run holds everything."
    return (
        f"**The summary is cut here, because GitHub shows no more than 1 MiB:** {rows}{sections} are left out. {where}"
    )
