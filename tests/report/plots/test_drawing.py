from __future__ import annotations

import math
import re

import matplotlib
import pytest

from lsa_audit.records import AuditRecord
from lsa_audit.report.plots import drawing, figures


@pytest.mark.parametrize("name", ["clean", "hostile", "two-norms"])
def test_the_same_record_gives_the_same_bytes(name: str, samples: dict[str, AuditRecord]) -> None:
    assert figures(samples[name]) == figures(samples[name])


def test_a_users_own_settings_change_nothing_and_come_back(samples: dict[str, AuditRecord]) -> None:
    expected = figures(samples["clean"])
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "path"}):
        assert figures(samples["clean"]) == expected
        assert matplotlib.rcParams["font.size"] == 30


def test_drawings_use_the_colours_and_the_font_of_the_page(any_page: str) -> None:
    styles = re.findall(r' style="([^"]*)"', any_page)
    assert not [style for style in styles if re.search(r"#[0-9a-f]{6}", style) or "DejaVu" in style]


def test_hostile_names_are_text_in_the_drawing(samples: dict[str, AuditRecord]) -> None:
    shown = "".join(figure.svg for figure in figures(samples["hostile"]))
    assert "<script" not in shown
    assert "&lt;" in shown
    assert "#010101</text>" in shown
    assert "$\\frac{1}{2}$" in shown
    assert "名前" in shown


@pytest.mark.filterwarnings("error")
def test_no_warning_for_glyphs_that_the_font_lacks(samples: dict[str, AuditRecord]) -> None:
    figures(samples["hostile"])


def test_colours_are_replaced_in_attributes_only() -> None:
    with drawing.canvas(100) as (canvas, (axes,)):
        axes.set_title("url(#x) #010101 font-family: x;", color=drawing.BAD)
        svg = drawing.finish(canvas, "k", "<t>", "d & e").svg
    assert ">url(#x) #010101 font-family: x;</text>" in svg
    assert "var(--bad)" in svg
    assert '<title id="k-title">&lt;t&gt;</title><desc id="k-description">d &amp; e</desc>' in svg
    assert "<metadata" not in svg
    assert "<style" not in svg


def test_what_can_be_drawn() -> None:
    assert [drawing.is_finite(value) for value in (0.0, None, math.nan, math.inf)] == [True, False, False, False]
