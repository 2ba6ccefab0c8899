from __future__ import annotations

import math
import re

import matplotlib
import pytest

from lsa_audit.page import drawing
from lsa_audit.records import AuditRecord
from lsa_audit.reporting.plots import figures


@pytest.mark.slow_for("hostile", "two-norms")
@pytest.mark.parametrize("name", ["clean", "hostile", "two-norms"])
def test_the_same_record_gives_the_same_bytes(name: str, samples: dict[str, AuditRecord]) -> None:
    assert figures(samples[name]) == figures(samples[name])


def test_a_users_own_settings_change_nothing_and_come_back(samples: dict[str, AuditRecord]) -> None:
    expected = figures(samples["clean"])
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "path"}):
        assert figures(samples["clean"]) == expected
        assert matplotlib.rcParams["font.size"] == 30


def test_drawings_use_the_colours_and_the_font_of_the_page(any_page: str) -> None:
    paints = re.findall(r' (?:fill|stroke)="([^"]*)"', any_page)
    assert all(re.fullmatch(r"none|var\(--[a-z0-9-]+\)", paint) for paint in paints)
    assert "DejaVu" not in any_page
    assert " font-family=" not in any_page


def test_a_style_becomes_attributes_and_of_a_font_the_size_stays() -> None:
    styled = {"x": "1", "style": "fill: none; stroke: #010101;opacity: 0.5; font: 700 10px 'DejaVu Sans', sans-serif"}
    assert drawing._unstyled(styled) == {
        "x": "1",
        "fill": "none",
        "stroke": "#010101",
        "opacity": "0.5",
        "font-size": "10px",
    }
    assert drawing._unstyled({"style": "font-family: 'DejaVu Sans'; font-size: 9.5px"}) == {"font-size": "9.5px"}
    assert drawing._unstyled({"d": "M 0 0; x: 1"}) == {"d": "M 0 0; x: 1"}


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
