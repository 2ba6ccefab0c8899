"""A page for each id that a report may show: what it means, how it is computed, what to do. Reads files only."""

from __future__ import annotations

import re
from pathlib import Path

PAGES = Path(__file__).parent
TOPICS = ("findings", "gates", "presets", "attacks", "measures")
"""The folders of pages; an id stands in one of them only."""


def known(topic: str, entry: str) -> bool:
    """Whether there is a page; the entry may come from a stranger's record."""
    return re.fullmatch(r"[a-z0-9_-]+", entry) is not None and (PAGES / topic / f"{entry}.md").is_file()


def page(topic: str, entry: str) -> str:
    """The page of an entry of a topic, in Markdown; its first line is `# ID: what it is about`."""
    return (PAGES / topic / f"{entry}.md").read_text(encoding="utf-8")


def title(topic: str, entry: str) -> str:
    """What the entry is about, on one line."""
    return page(topic, entry).splitlines()[0].removeprefix(f"# {entry}: ")
