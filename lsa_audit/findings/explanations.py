"""The page of each rule: what it means, how it is computed, how its threshold was set, what to do."""

from __future__ import annotations

from pathlib import Path

PAGES = Path(__file__).parent / "pages"


def page(rule: str) -> str:
    """The page of a rule of `RULES`, in Markdown; its first line is `# ID: what it is about`."""
    return (PAGES / f"{rule}.md").read_text(encoding="utf-8")


def title(rule: str) -> str:
    """What the rule is about, on one line."""
    return page(rule).splitlines()[0].removeprefix(f"# {rule}: ")
