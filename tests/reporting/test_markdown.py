from __future__ import annotations

import doctest
import html
import re
import time
from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from lsa_audit.records import AuditRecord
from lsa_audit.reporting import markdown
from lsa_audit.reporting.shown import Shown

PARSER = MarkdownIt("gfm-like", {"linkify": False})
NOTHING = "\N{ZERO WIDTH SPACE}"
ALLOWED = {"text", "softbreak", "strong_open", "strong_close"}


def inline(text: str) -> list[Token]:
    return [child for token in PARSER.parse(text) for child in token.children or ()]


def test_the_example_in_the_docstring() -> None:
    assert doctest.testmod(markdown).failed == 0


@pytest.mark.parametrize(
    "raw",
    [
        "a|b",
        "<script>alert(1)</script>",
        "`code` ``two``",
        "[x](javascript:alert(1))",
        "![x](https://evil.example/p.png)",
        "https://evil.example",
        "<https://evil.example>",
        "*a* _b_ __c__ ~~d~~ **e**",
        "layer_1_conv_2",
        "1. first",
        "- item",
        "+ item",
        "# title",
        "> quote",
        "---",
        "===",
        "&lt;b&gt; &#35;",
        "back\\slash \\*",
        "$x^2$",
        "[^1]: note",
        ":---:",
        "<!-- hidden --> shown",
        "$`x`$ $$y$$",
        "> [!WARNING]",
        "[x] done",
        ":x: :+1: :100:",
        "@somebody",
        "org/repo#1 and GH-2",
        "91.5 %",
    ],
)
def test_escaped_text_renders_as_itself(raw: str) -> None:
    for source in (markdown.escape(raw), f"| {markdown.escape(raw)} |\n|---|\n| {markdown.escape(raw)} |"):
        rendered = PARSER.render(source)
        shown = html.unescape(re.sub(r"<[^>]*>", "\0", rendered)).replace("\n", "").replace(NOTHING, "").split("\0")
        cells = [part for part in shown if part]
        assert set(cells) == {raw}
        assert {token.type for token in inline(source)} <= {"text"}


def test_a_newline_cannot_leave_the_cell() -> None:
    assert "\n" not in markdown.escape("a\n# b\r\nc")


def test_plain_numbers_and_names_stay_readable() -> None:
    for raw in ("91.5 %", "layer1.0.conv1", "8/255", "bn_1", "0.81–0.86"):  # noqa: RUF001
        assert markdown.escape(raw) == raw


@pytest.mark.parametrize(
    ("raw", "escaped"), [("http://a.b", "http\\://a.b"), ("www.a.b", "www\\.a.b"), ("a@b", "a\\@b")]
)
def test_bare_links_are_broken(raw: str, escaped: str) -> None:
    assert markdown.escape(raw) == escaped


@pytest.mark.parametrize(
    ("raw", "parted"),
    [
        ("@somebody", "@|somebody"),
        ("(@org/team)", "(@|org/team)"),
        ("#12", "#|12"),
        ("org/repo#12", "org/repo#|12"),
        ("GH-12", "GH-|12"),
        (":x:", ":|x:"),
        (":+1::100:", ":|+1::|100:"),
        (":white_check_mark:", ":|white_check_mark:"),
        ("pgd@linf-8/255:max_drop", "pgd@linf-8/255:max_drop"),
        ("2025-01-02T03:04:05Z", "2025-01-02T03:04:05Z"),
        ("# title #x", "# title #x"),
    ],
)
def test_what_github_would_take_for_a_reference_is_parted(raw: str, parted: str) -> None:
    (shown,) = inline(markdown.escape(raw))
    assert shown.content == parted.replace("|", NOTHING)


def test_an_escape_takes_no_longer_than_the_text_is() -> None:
    started = time.process_time()
    markdown.escape(":a" * 50_000 + "_" * 50_000 + ":" + "a" * 50_000)
    assert time.process_time() - started < 5


@pytest.mark.slow_for("every-layer", "large", "hostile", "self-labels")
def test_the_report_holds_no_markup_from_the_record(any_record: AuditRecord) -> None:
    tokens = PARSER.parse(markdown.render(Shown(any_record)))
    assert "html_block" not in {token.type for token in tokens}
    assert {child.type for token in tokens for child in token.children or ()} <= ALLOWED


def test_every_table_row_has_the_columns_of_its_head(samples: dict[str, AuditRecord]) -> None:
    rendered = PARSER.render(markdown.render(Shown(samples["hostile"])))
    tables = re.findall(r"<table>.*?</table>", rendered, re.DOTALL)
    assert len(tables) == 19
    for table in tables:
        widths = {len(re.findall(r"<t[hd][ >]", row)) for row in table.split("</tr>")[:-1]}
        assert len(widths) == 1


@pytest.mark.parametrize(
    "name", ["clean", "findings", "skipped", "hostile", "nothing-known", "ensembles", "masked", "every-layer"]
)
def test_gold(name: str, samples: dict[str, AuditRecord], check_gold: Callable[[str, str], None]) -> None:
    check_gold(f"{name}.md", markdown.render(Shown(samples[name])))
