"""Gates and gallery in Markdown; `test_html.py` has them as a page."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lsa_audit.records import AuditRecord
from lsa_audit.reporting import markdown

from .shown_records import SHOWN, failed
from .test_markdown import ALLOWED, PARSER


@pytest.mark.slow_for("hostile")
@pytest.mark.parametrize("name", sorted(SHOWN))
def test_gates_and_gallery_hold_no_markup(name: str, samples: dict[str, AuditRecord], hostile_name: str) -> None:
    tokens = PARSER.parse(markdown.render(SHOWN[name](samples, hostile_name)))
    assert "html_block" not in {token.type for token in tokens}
    assert {child.type for token in tokens for child in token.children or ()} <= ALLOWED


def test_the_verdict_leads_and_pictures_are_a_table() -> None:
    written = markdown.render(failed())
    assert written.index("> **The gates fail.**") < written.index("| key figure |") < written.index("## Gates")
    assert "## Flipped images" in written
    assert "| 17 | cat | 8.75 | 4.5 | dog | 1.25 | 9.5 | 0.0314 | 1.5 |" in written
    assert "image/png" not in written


@pytest.mark.parametrize("name", ["gates", "hostile"])
def test_gold(
    name: str, samples: dict[str, AuditRecord], hostile_name: str, check_gold: Callable[[str, str], None]
) -> None:
    check_gold(f"shown-{name}.md", markdown.render(SHOWN[name](samples, hostile_name)))
