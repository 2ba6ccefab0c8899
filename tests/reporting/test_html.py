from __future__ import annotations

import base64
import hashlib
import html as plain_html
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import html5lib
import pytest

from lsa_audit.page.drawing import Figure
from lsa_audit.records import AuditRecord
from lsa_audit.reporting import html

from .shown_records import SHOWN, hostile

OUTSIDE = {"script", "link", "iframe", "object", "embed", "base", "form"}
VOID = {"meta", "wbr", "br", "hr", "img", "link", "input"}
CSS = Path(html.__file__).parent / "templates" / "report.css"
CHROMIUM = os.environ.get("LSA_AUDIT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
WIDE = ("gates", "clean", "findings", "large", "ensembles", "masked", "every-layer")
TEXT_PAIRS = [
    (text, ground) for text in ("ink", "quiet", "accent", "bad", "warning", "good") for ground in ("surface", "page")
] + [("bad", "bad-wash"), ("ink", "bad-wash"), ("warning", "warning-wash"), ("ink", "warning-wash")]


class Page(HTMLParser):
    """Collects what the tests look at, and every tag that is not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.headings: list[int] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        (self.styles if self.open[-1:] == ["style"] else self.words).append(data)


@pytest.mark.slow_except("clean-only", "every-layer", "large", "masked", "nothing-known")
def test_the_page_is_well_formed_and_needs_nothing_from_outside(any_page: str) -> None:
    page = Page(any_page)
    assert (page.open, page.faults) == ([], [])
    assert not page.tags.keys() & OUTSIDE
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("href", "src", "action", "data"):
            assert value.startswith("data:image/png;base64," if tag == "img" else "#"), (tag, value)
        assert "url(" not in value or "url(#" in value
    assert "@import" not in any_page


@pytest.mark.slow_for("every-layer", "large")
def test_ids_are_unique_and_references_hit_one(any_page: str) -> None:
    page = Page(any_page)
    ids = Counter(value for _, name, value in page.attributes if name == "id")
    assert {id_ for id_, times in ids.items() if times > 1} == set()
    for _, name, value in page.attributes:
        if name == "href":
            assert value.removeprefix("#") in ids
        elif name == "aria-labelledby":
            assert set(value.split()) <= ids.keys()
        elif name != "aria-label":
            assert set(re.findall(r"url\(#([^)]*)\)", value)) <= ids.keys()


@pytest.mark.slow_for("every-layer", "large")
def test_headings_descend_one_level_at_a_time(any_page: str) -> None:
    headings = Page(any_page).headings
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_tables_have_captions_and_scopes_and_figures_are_described(pages: Mapping[str, str]) -> None:
    page = Page(pages["clean"])
    assert page.tags["table"] == page.tags["caption"] == 11
    scopes = Counter(value for tag, name, value in page.attributes if (tag, name) == ("th", "scope"))
    assert scopes.total() == page.tags["th"]
    assert page.tags["svg"] == page.tags["desc"] == 4
    assert ("svg", "role", "img") in page.attributes


@pytest.fixture(scope="module")
def shown_pages(samples: dict[str, AuditRecord], hostile_name: str) -> dict[str, str]:
    """Reports of runs with gates and a gallery."""
    return {name: html.render(SHOWN[name](samples, hostile_name)) for name in ("gates", "hostile")}


@pytest.mark.slow_except("hostile")
@pytest.mark.parametrize("name", ["gates", "hostile"])
def test_gates_and_pictures_keep_the_page_whole(name: str, shown_pages: dict[str, str]) -> None:
    shown_page = shown_pages[name]
    test_the_page_is_well_formed_and_needs_nothing_from_outside(shown_page)
    test_ids_are_unique_and_references_hit_one(shown_page)
    test_headings_descend_one_level_at_a_time(shown_page)
    test_an_independent_parser_finds_no_fault(shown_page)


def test_every_picture_has_words(shown_pages: dict[str, str]) -> None:
    page = Page(shown_pages["gates"])
    assert page.tags["img"] == 6
    alternatives = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(set(alternatives)) == 6
    assert all(alternatives)


@pytest.mark.slow_except("clean-only", "masked", "two-norms")
def test_an_independent_parser_finds_no_fault(any_page: str) -> None:
    """HTML 5 as the standard says it must be parsed; every deviation is an error."""
    html5lib.HTMLParser(strict=True).parse(any_page)


def test_hostile_names_stay_text(shown_pages: dict[str, str], hostile_name: str) -> None:
    content = shown_pages["hostile"]
    page = Page(content)
    shown = "".join(page.words)
    assert "<script>alert(1)</script>" in shown
    assert "{{ 7*7 }}" in shown
    assert 'quote"id="z" url(#a) #010101' in shown
    assert hostile_name not in content
    assert "\x1b" not in content
    assert "\u202e" not in content


def test_hostile_names_make_no_element_and_no_attribute(samples: dict[str, AuditRecord], hostile_name: str) -> None:
    """The same run with harmless names of the same kind has the same elements with the same attributes."""
    built = []
    for name in (hostile_name, "x" * 300):
        page = Page(html.render(hostile(samples["clean"], name)))
        assert not page.tags.keys() & {*OUTSIDE, "b", "i"}
        built.append((page.tags, [(tag, attribute) for tag, attribute, _ in page.attributes]))
    (hostile_tags, hostile_attributes), (tags, attributes) = built
    breaks = {"wbr": 0}
    assert hostile_tags | breaks == tags | breaks
    assert hostile_attributes == attributes


@pytest.mark.slow_for("every-layer", "large")
def test_the_policy_lets_one_style_sheet_and_pictures_in_the_page_act(any_page: str) -> None:
    page = Page(any_page)
    (policy,) = (value for tag, name, value in page.attributes if tag == "meta" and value.startswith("default-src"))
    (styles,) = page.styles
    digest = base64.b64encode(hashlib.sha256(styles.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert styles == CSS.read_text(encoding="utf-8")
    assert not [tag for tag, name, _ in page.attributes if name == "style"]


def test_notices_come_before_the_figures(pages: Mapping[str, str]) -> None:
    content = pages["findings"]
    assert 0 < content.index("inconclusive, not robust") < content.index('class="cards"')
    assert "inconclusive, not robust" not in pages["clean"]
    stability = pages["self-labels"]
    assert stability.index("The figures are prediction stability") < stability.index('class="cards"')


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_are_readable(theme: str) -> None:
    light, _, rest = CSS.read_text(encoding="utf-8").partition("@media screen and (prefers-color-scheme: dark)")
    colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", light))
    if theme == "dark":
        colours |= dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", rest))
    for text, ground in TEXT_PAIRS:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for place in range(1, 9):
        assert contrast(colours[f"series-{place}"], colours["surface"]) >= 4.5


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2."""
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", ["clean", "findings", "skipped", "hostile", "ensembles", "masked", "every-layer"])
def test_gold(name: str, pages: Mapping[str, str], check_gold: Callable[[str, str], None]) -> None:
    """Without the drawings, which differ between versions of matplotlib; their determinism is tested beside them."""
    check_gold(f"{name}.html", without_drawings(pages[name]))


@pytest.mark.parametrize("name", ["gates", "hostile"])
def test_gold_of_gates_and_gallery(
    name: str, shown_pages: dict[str, str], check_gold: Callable[[str, str], None]
) -> None:
    check_gold(f"shown-{name}.html", without_drawings(shown_pages[name]))


def test_the_verdict_its_checks_and_what_to_do_come_first(shown_pages: dict[str, str]) -> None:
    content = shown_pages["gates"]
    places = [
        content.index(part) for part in ("The gates fail", 'id="gates"', "What to do", 'id="findings"', 'id="figures"')
    ]
    assert places == sorted(places)


def without_drawings(content: str) -> str:
    """The page without what other versions of matplotlib and zlib would write otherwise, and without the styles."""
    for pattern in (r"<svg.*?</svg>", r"<style>.*?</style>", r"sha256-[^']*", r"data:image/png;base64,[^\"]*"):
        content = re.sub(pattern, "...", content, flags=re.DOTALL)
    return content


def test_a_drawing_goes_in_as_it_is() -> None:
    assert html._inline_svg(Figure("k", "t", "d", "<svg></svg>")) == "<svg></svg>"


def chromium(path: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Headless Chromium on a file; its profile lies in the folder, and messages of the page come on stderr."""
    quiet = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    more = "--disable-component-update --disable-sync --enable-logging=stderr"
    command = [CHROMIUM, *quiet.split(), *more.split(), *options, f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)


def probe(page: str, width: int, folder: Path) -> dict[str, str]:
    """What Chromium says about the page in a frame of `width` CSS pixels (a window has a larger minimum)."""
    outer = f"""<body style="margin:0"><iframe id=f style="border:0" width={width} height=2000
srcdoc="{plain_html.escape(page)}"></iframe><script>
f.onload = () => {{
  const page = f.contentDocument, wide = [];
  for (const box of page.querySelectorAll("main *")) {{
    const right = box.getBoundingClientRect().right;
    if (right > page.documentElement.clientWidth + 1 && !box.closest(".scroll")) wide.push(box.tagName);
  }}
  document.body.dataset.scroll = page.documentElement.scrollWidth;
  document.body.dataset.inner = f.contentWindow.innerWidth;
  document.body.dataset.wide = wide.join(" ");
  f.remove();
}}</script>"""
    path = folder / "page.html"
    path.write_text(outer, encoding="utf-8")
    options = "--virtual-time-budget=5000", "--window-size=1400,2000", "--dump-dom"
    dumped = chromium(path, folder, *options).stdout
    return dict(re.findall(r'data-([a-z]+)="([^"]*)"', dumped))


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (on the path, or LSA_AUDIT_CHROMIUM)")
@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["hostile", *(pytest.param(name, marks=pytest.mark.slow) for name in WIDE)])
def test_nothing_is_wider_than_the_screen(
    name: str, width: int, pages: Mapping[str, str], shown_pages: dict[str, str], tmp_path: Path
) -> None:
    seen = probe(shown_pages[name] if name in shown_pages else pages[name], width, tmp_path)
    assert int(seen["inner"]) == width
    assert int(seen["scroll"]) <= width
    assert seen["wide"] == ""


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (on the path, or LSA_AUDIT_CHROMIUM)")
def test_the_policy_blocks_what_is_smuggled_in_and_nothing_of_the_page(
    shown_pages: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    smuggled = "<p style='color: red'>x</p><script>document.title = 'run'</script>"
    path.write_text(shown_pages["gates"].replace("</main>", f"{smuggled}</main>"), encoding="utf-8")
    seen = chromium(path, tmp_path, "--virtual-time-budget=3000", "--dump-dom")
    assert "<title>run</title>" not in seen.stdout
    assert "</svg>" in seen.stdout
    assert seen.stderr.count("Content Security Policy") == 2
