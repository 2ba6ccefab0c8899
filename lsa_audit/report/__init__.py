"""Reports: a record in, text out. Nothing here knows the clock, the disk or torch."""

from __future__ import annotations

from collections.abc import Callable

from . import html, json, markdown
from .shown import Shown

FORMATS: dict[str, tuple[str, Callable[[Shown], str]]] = {
    "json": ("record.json", json.render),
    "markdown": ("report.md", markdown.render),
    "html": ("report.html", html.render),
}
