from __future__ import annotations

import re

import pytest

from lsa_audit.records import AuditRecord
from lsa_audit.reporting.plots import heat_strip

from ..builders import build, dropped, effect, walked
from ..neuron_records import LAYERS

PGD = "pgd@linf-0.0313725"
RECTANGLE = re.compile(
    r'<path d="M (\S+) (\S+)  L (\S+) \S+  L \S+ (\S+)  L [^"]*" clip-path="[^"]*" fill="var\(--([a-z0-9-]+)\)"'
    r'(?: opacity="([^"]*)")?'
)
LOSS, GAIN, NOTHING = "series-2", "series-1", "line"


def strip(*drops: float, measured: int = 200) -> AuditRecord:
    """Two layers; the neurons of the first have the given drops, those of the second none."""
    first, second = dropped("conv1", PGD, 1), dropped("linear", PGD, 1)
    members = tuple(
        first.neurons[0].model_copy(update={"neuron_index": place, "clean": effect(drop, measured=measured)})
        for place, drop in enumerate(drops)
    )
    tables = (first.model_copy(update={"neurons": members}), second)
    return build(graph=walked(("conv1", "linear")), neurons=tables)


def runs(svg: str) -> list[tuple[str, float, int, int]]:
    """The rectangles in the order of drawing: colour, opacity, width and height in SVG units."""
    return [
        (colour, float(opacity or 1), round(float(right) - float(left)), round(abs(float(bottom) - float(top))))
        for left, bottom, right, top, colour, opacity in RECTANGLE.findall(svg)
    ]


def test_a_single_layer_has_no_strip(samples: dict[str, AuditRecord]) -> None:
    assert heat_strip.figures(samples["clean"]) == ()
    assert heat_strip.figures(samples["clean-only"]) == ()


def test_every_layer_has_a_row_in_depth_order(samples: dict[str, AuditRecord]) -> None:
    (figure,) = heat_strip.figures(samples["every-layer"])
    names = [label for label in re.findall(r"<text[^>]*>([^<]*)</text>", figure.svg) if label in LAYERS]
    assert names == list(LAYERS)
    assert "Most fragile neurons: conv1 (8), layer1.0.conv1 (5), " in figure.description
    assert "A thin cell was not measured on every image." in figure.description


def test_colours_tell_losses_from_gains_and_their_size() -> None:
    (figure,) = heat_strip.figures(strip(0.2, 0.06, 0.0, -0.03))
    drawn = runs(figure.svg)
    assert [(colour, opacity) for colour, opacity, _, _ in drawn] == [
        (LOSS, 1.0),
        (LOSS, 0.75),
        (NOTHING, heat_strip.NEAR_NOTHING),
        (GAIN, 0.55),
        (NOTHING, heat_strip.NEAR_NOTHING),
    ]
    first, second, third, fourth, whole = (width for _, _, width, _ in drawn)
    assert first == second == third == fourth == round(whole / 4)
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", figure.svg)
    assert {"10 and above", "5 to 10", "nearer to 0 than 1", "\N{MINUS SIGN}2 to \N{MINUS SIGN}5"} <= set(shown)


def test_an_estimate_is_a_thin_cell() -> None:
    (full, *_), (thin, *_) = (
        runs(heat_strip.figures(strip(0.2, 0.1, measured=measured))[0].svg) for measured in (200, 199)
    )
    assert full[:3] == thin[:3]
    assert thin[3] < full[3] / 2


def test_a_cell_of_many_neurons_shows_the_largest_change() -> None:
    (figure,) = heat_strip.figures(strip(0.2, *[0.0] * 4_094, -0.2))
    first, *_, last, _ = runs(figure.svg)
    assert (first[0], last[0]) == (LOSS, GAIN)
    assert first[2] == last[2] > 4
    assert "a cell shows the neuron with the largest change" in figure.description


@pytest.mark.slow
def test_the_drawing_stays_small() -> None:
    names = tuple(f"layer{place:03}" for place in range(200))
    wide = dropped("layer", PGD, 1_024, correlations=())
    tables = tuple(wide.model_copy(update={"layer": name}) for name in names)
    (figure,) = heat_strip.figures(build(graph=walked(names), neurons=tables))
    assert len(figure.svg) < 500_000


def test_without_an_effect_there_is_a_sentence_and_no_strip() -> None:
    (figure,) = heat_strip.figures(strip(0.0, 0.000_001))
    assert figure.svg == ""
    assert "No neuron changes the accuracy" in figure.description
