"""Reports: a record in, text out. Nothing here knows the clock, the disk or torch."""

from __future__ import annotations

from collections.abc import Callable

from . import github, github_annotations, html, json, junit, markdown, model_card, sarif
from .shown import Shown

FORMATS: dict[str, tuple[str, Callable[[Shown], str]]] = {
    "json": ("record.json", json.render),
    "markdown": ("report.md", markdown.render),
    "html": ("report.html", html.render),
    "sarif": ("report.sarif", sarif.render),
    "junit": ("junit.xml", junit.render),
    "github": ("summary.md", github.render),
    "github-annotations": ("annotations.txt", github_annotations.render),
    "model-card": ("model-card.md", model_card.render),
}
"""By the name that `--format` takes: the usual file, and what makes its text."""

RUN_FILES = ("json", "markdown", "html")
"""The formats that a run folder holds."""
