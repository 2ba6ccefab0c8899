from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from lsa_audit.page.text import DASH, MINUS
from lsa_audit.page.view import Group, Section, Table
from lsa_audit.records.diff import RunDiff, Unlike
from lsa_audit.reporting import diff as report
from lsa_audit.reporting.plots import diff as plots
from lsa_audit.reporting.sections import diff_images, diff_layers, diff_words

from .conftest import HOSTILE
from .diff_records import BALL, FGSM, PGD, classes, diff, hostile, layer, partial, run, same, table, worse
from .test_html import CHROMIUM, Page, probe

RECORDS: dict[str, Callable[[], RunDiff]] = {
    "mixed": diff,
    "worse": worse,
    "same": same,
    "partial": partial,
    "hostile": lambda: hostile(HOSTILE),
}
PARSER = MarkdownIt("gfm-like", {"linkify": False})


@cache
def page_of(name: str) -> str:
    return report.to_html(RECORDS[name]())


def tables(section: Section) -> list[Table]:
    blocks = [block for part in section.blocks for block in (part.blocks if isinstance(part, Group) else (part,))]
    return [block for block in blocks if isinstance(block, Table)]


def terminal(found: RunDiff) -> str:
    return " ".join(report.FORMATS["terminal"](found).split())


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(diff_words).failed == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (diff, f"Better and worse. Of 4 shares of right images: worse in 2 ({BALL}, {PGD}), better in 1 (clean)."),
        (worse, f"Worse. Of 3 shares of right images: worse in 2 ({BALL}, {PGD})."),
        (same, "No difference shown. Of 4 shares of right images none shows a difference."),
        (partial, "Better. Of 2 shares of right images: better in 1 (clean)."),
    ],
)
def test_the_headline_is_said_everywhere(make: Callable[[], RunDiff], said: str) -> None:
    found = make()
    *_, last = report.document(found).notices
    assert f"{last.title}. {last.text}" == said
    assert said in terminal(found)
    assert said.split(". ")[0] in report.to_markdown(found).split("\n## ")[0]


def test_what_is_left_out_comes_first() -> None:
    found = partial()
    first, *others = report.document(found).notices
    assert first.title == "Not everything can be compared"
    assert first.text.startswith("Left out: images that only one run has (100 of 300 before, 50 of 250 after); pgd")
    assert first.text.endswith("; and 1 more.")
    assert [notice.title for notice in others[:2]] == [
        "Attack health of the run before",
        "The figures are prediction stability, not accuracy",
    ]
    assert report.document(found).sections[0].key == "not-compared"
    (left_out,) = tables(report.document(found).sections[0])
    assert [row.cells for row in left_out.rows] == [(each.what, each.before, each.after) for each in found.not_compared]
    said = terminal(found)
    assert (
        said.index("square@linf-8/255 (run before, not run after)") < said.index("Attack health") < said.index("clean")
    )
    assert "Not compared" not in terminal(diff())


def test_every_share_has_a_row_with_its_pairs_and_its_verdict() -> None:
    (shares,) = tables(diff_images.accuracy(diff()))
    rows = {row.cells[0]: row for row in shares.rows}
    assert list(rows) == ["clean", BALL, FGSM, PGD]
    assert rows["clean"].cells[1:6] == ("90.0 %", "95.5 %", "12", "1", "+5.5")
    assert rows[PGD].cells[3:6] == ("2", "40", f"{MINUS}19.0")
    assert rows[PGD].cells[-2:] == ("< 0.001", "worse")
    assert rows[FGSM].cells[-1] == "no difference shown"
    assert [row.tone for row in shares.rows] == ["good", "bad", "quiet", "bad"]
    assert f"{BALL}: right under {FGSM}, {PGD}." in shares.note


def test_the_key_figures_are_clean_and_the_hardest() -> None:
    assert [(card.label, card.value, card.note) for card in report.document(diff()).cards] == [
        ("Accuracy without attack", "95.5 %", "90.0 % before; +5.5 points, better"),
        (f"Accuracy under {BALL}", "26.0 %", f"45.0 % before; {MINUS}19.0 points, worse"),
        (f"Images newly wrong under {BALL}", "40", "2 newly right"),
    ]


def test_classes_show_those_that_changed_most_and_say_what_is_left_out() -> None:
    rows = classes("clean").classes
    small = tuple(rows[0].model_copy(update={"id": f"c{place}", "difference": 0.0}) for place in range(60))
    many = diff(classes=(classes("clean", classes=(*small, *rows), left_out=1),))
    (shown,) = tables(diff_images.classes(many))
    assert len(shown.rows) == diff_images.CLASS_LIMIT
    assert [row.cells[0] for row in shown.rows[-2:]] == ["cat", "dog"]
    assert "22 more are in the JSON. Left out: 1 class with fewer than 10 images." in shown.note
    assert list(diff_images.differing_classes(diff()))[:2] == [
        "Classes that got worse without attack: cat.",
        "Classes that got better without attack: dog.",
    ]


def test_images_are_named_and_the_rest_counted() -> None:
    group = diff_images.images(diff()).blocks[2]
    assert isinstance(group, Group)
    assert [getattr(block, "text", "") for block in group.blocks] == [
        "Newly wrong, 40 images: 4, 9 and 38 more.",
        "Newly right, 2 images: 2, 3.",
    ]
    nothing = diff_images.images(same()).blocks[1]
    assert isinstance(nothing, Group)
    assert [getattr(block, "text", "") for block in nothing.blocks] == [
        "No image is newly wrong.",
        "No image is newly right.",
    ]
    unnamed = diff_images.images(partial()).blocks[1]
    assert isinstance(unnamed, Group)
    assert getattr(unnamed.blocks[0], "text", "") == "Newly wrong, 1 image."


def test_the_last_attack_has_the_open_table_of_layers() -> None:
    groups = [block for block in diff_layers.layers(diff()).blocks if isinstance(block, Group)]
    assert [(group.title, group.folded) for group in groups] == [(f"Under {PGD}", False), (f"Under {FGSM}", True)]
    (shown, _) = tables(diff_layers.layers(diff()))
    assert [row.cells for row in shown.rows] == [
        ("conv1", "0.4", "0.3", f"{MINUS}0.1", f"{MINUS}0.11 to {MINUS}0.09", "< 0.001", "no longer", "better"),
        ("layer1.0.conv1", "0.25", "0.25", "0", f"{MINUS}0.01 to +0.01", "1.000", DASH, "no difference shown"),
        ("layer1.0.conv2", DASH, "0.2", DASH, DASH, DASH, DASH, DASH),
        ("linear", "0.3", "0.9", "+0.6", "+0.59 to +0.61", "< 0.001", "new", "worse"),
    ]
    assert list(diff_layers.sentences(table())) == [
        f"Under {PGD} attacked images move further in 1 of 4 layers, less far in 1.",
        "New among the most vulnerable layers: linear. No longer among them: conv1, old.",
        "Layers that only the run before has: old.",
        "Layers that only the run after has: layer2.0.conv1, layer2.0.conv2.",
    ]


def test_layers_without_pairs_say_nothing_of_chance() -> None:
    (shown,) = tables(diff_layers.layers(partial()))
    assert [column.title for column in shown.columns] == ["layer", "before", "after", "difference", "most vulnerable"]
    said = list(diff_layers.sentences(partial().layers[0]))
    assert said[0] == f"Under {FGSM} the mean is higher in 1 of 2 layers; whether by chance is not known."
    assert said[1] == diff_layers.OTHER_ETA


def test_only_the_layers_that_changed_most_are_shown() -> None:
    still = tuple(layer(f"l{place}", 0.1, 0.1) for place in range(80))
    many = diff(layers=(table(layers=(*still, layer("last", 0.1, 0.9))),))
    (shown,) = tables(diff_layers.layers(many))
    assert (len(shown.rows), shown.rows[-1].cells[0]) == (diff_layers.LAYER_LIMIT, "last")
    assert "21 more are in the JSON" in shown.note
    assert sum(line.startswith("l") and "0.1" in line for line in report.FORMATS["terminal"](many).splitlines()) == 8


def test_fragile_neurons_are_summed_over_the_layers_that_both_have() -> None:
    assert list(diff_layers.counted(diff())) == ["Fragile neurons in 2 layers: 3 before, 6 after."]
    (shown,) = tables(diff_layers.neurons(diff()))
    assert [row.cells for row in shown.rows] == [
        ("conv1", "2 of 16", "5 of 16", "+3"),
        ("linear", "1 of 10", "1 of 10", "0"),
        ("old", "3 of 8", "none dropped", DASH),
    ]


@pytest.mark.parametrize("name", list(RECORDS))
def test_the_terminal_is_eighty_columns_wide_and_ends_with_a_line(name: str) -> None:
    shown = report.FORMATS["terminal"](RECORDS[name]())
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.endswith("\n")


def test_json_is_the_record() -> None:
    assert RunDiff.model_validate_json(report.to_json(diff())) == diff()
    assert json.loads(report.to_json(diff()))["diff_version"] == 1


def test_figure_draws_before_and_after_of_each_share() -> None:
    (figure,) = plots.figures(diff())
    assert figure.title == "Accuracy before and after"
    assert all(name in figure.svg for name in ("clean", "var(--bad)", "var(--good)", "no difference shown"))


def test_figure_draws_only_the_shares_that_changed_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "ROW_LIMIT", 3)
    (cut,) = plots.figures(diff())
    assert cut.description.endswith("The 3 that changed most; 1 more are in the table.")
    assert PGD in cut.svg
    assert FGSM not in cut.svg


def test_each_share_has_a_row_of_the_same_height(monkeypatch: pytest.MonkeyPatch) -> None:
    heights = []
    for limit in (1, 2, 3):
        monkeypatch.setattr(plots, "ROW_LIMIT", limit)
        (figure,) = plots.figures(diff())
        heights.append(float(re.search(r'viewBox="0 0 \S+ (\S+)"', figure.svg)[1]))
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=0.5)
    assert heights[1] - heights[0] == pytest.approx(plots.ROW_HEIGHT, abs=0.5)


@pytest.mark.slow
def test_the_same_diff_gives_the_same_text() -> None:
    for name, render in report.FORMATS.items():
        assert render(diff()) == (page_of("mixed") if name == "html" else render(diff()))


@pytest.mark.slow_for("worse")
@pytest.mark.parametrize("name", list(RECORDS))
def test_the_page_is_well_formed(name: str) -> None:
    page = Page(page_of(name))
    assert (page.open, page.faults) == ([], [])
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(set(ids)) == len(ids)
    assert not page.tags.keys() & {"script", "link", "img", "iframe", "object", "form"}


def test_names_cannot_break_out() -> None:
    record, content = hostile(HOSTILE), page_of("hostile")
    lines = report.to_markdown(record)
    assert "<script" not in content
    assert HOSTILE not in content
    tokens = PARSER.parse(lines)
    assert "html_block" not in {token.type for token in tokens}
    inline = {child.type for token in tokens for child in token.children or ()}
    assert inline <= {"text", "softbreak", "strong_open", "strong_close"}
    for shown in (content, lines, report.FORMATS["terminal"](record)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_long_lists_of_what_is_left_out_stay_whole_on_the_terminal() -> None:
    many = diff(not_compared=tuple(Unlike(what=f"a{place}", before="run", after="not run") for place in range(50)))
    assert "a49 (run before, not run after)" in terminal(many)


def test_baselines_are_named_as_such() -> None:
    assert "After: baseline of resnet20" in report.document(diff(after=run("b", kind="baseline"))).subtitle


def test_terminal_and_markdown_need_no_torch() -> None:
    code = "import sys, lsa_audit.reporting.diff; print(*(name in sys.modules for name in ('torch', 'matplotlib')))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False"] * 2


@pytest.mark.parametrize("name", list(RECORDS))
def test_gold(name: str, check_gold: Callable[[str, str], None]) -> None:
    """HTML without the drawings, which differ between versions of matplotlib, and without the style and its hash."""
    record = RECORDS[name]()
    check_gold(f"diff-{name}.md", report.to_markdown(record))
    check_gold(f"diff-{name}.txt", report.FORMATS["terminal"](record))
    content = re.sub(r"<svg.*?</svg>", "<!-- drawing -->", page_of(name), flags=re.DOTALL)
    content = re.sub(r"<style>.*?</style>", "<!-- style -->", content, flags=re.DOTALL)
    check_gold(f"diff-{name}.html", re.sub(r"'sha256-[^']*'", "'sha256-OF-THE-STYLE'", content))


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (on the path, or LSA_AUDIT_CHROMIUM)")
@pytest.mark.slow
@pytest.mark.parametrize(("name", "width"), [("mixed", 390), ("hostile", 390), ("partial", 1280)])
def test_nothing_is_wider_than_the_screen(name: str, width: int, tmp_path: Path) -> None:
    seen = probe(page_of(name), width, tmp_path)
    assert int(seen["inner"]) == width
    assert int(seen["scroll"]) <= width
    assert seen["wide"] == ""
