from __future__ import annotations

import re

import pytest

from lsa_audit.records import AuditRecord, Correlation, PatchedLayer, Patching
from lsa_audit.reporting.plots import layers, patching
from lsa_audit.stats.statistics import estimate

from ..builders import RESNET, build

ATTACK = "pgd@linf-0.0313725"


def recorded(names: tuple[str, ...] = RESNET, returned: tuple[int, ...] = (90, 60, 60, 30, 45, 75, 90)) -> AuditRecord:
    shares = tuple(
        PatchedLayer(layer=name, returned=estimate(count, 90), whole=count == 90)
        for name, count in zip(names, returned, strict=True)
    )
    correlation = Correlation(between=("returned", "relative_error"), rho=None, p_value=None, count=0)
    return build(patching=Patching(perturbation=ATTACK, lost=90, layers=shares, correlation=correlation))


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def heights(svg: str) -> dict[str, float]:
    return {name: float(y) for y, name in re.findall(r'<text[^>]* y="([0-9.-]+)"[^>]*>([^<]*)</text>', svg)}


def test_layers_run_from_top_to_bottom_with_both_axes_named():
    (figure,) = patching.figures(recorded())
    places = heights(figure.svg)
    assert [places[name] for name in RESNET] == sorted(places[name] for name in RESNET)
    assert {"lost images that return (%)", "mean relative error", "returned"} <= set(labels(figure.svg))
    assert figure.title == "Lost images that return with each layer under pgd 8/255"
    assert "90 lost images" in figure.description


def test_what_returns_by_construction_is_told_where_it_is_there():
    assert "returned, by construction" in labels(patching.figures(recorded())[0].svg)
    (figure,) = patching.figures(recorded(returned=(9, 60, 60, 30, 45, 75, 10)))
    assert "returned, by construction" not in labels(figure.svg)
    assert "Hollow" not in figure.description


def test_without_a_measure_of_the_attack_there_is_one_axis():
    record = recorded().model_copy(update={"sustainability": ()})
    (figure,) = patching.figures(record)
    assert "mean relative error" not in labels(figure.svg)
    assert "upper axis" not in figure.description


@pytest.mark.slow
def test_of_many_layers_some_are_named():
    names = tuple(f"layers.{place}.conv" for place in range(150))
    (figure,) = patching.figures(recorded(names, tuple(place % 90 for place in range(150))))
    shown = [label for label in labels(figure.svg) if label.startswith("layers.")]
    assert 40 <= len(shown) <= layers.LABEL_LIMIT


@pytest.mark.slow
def test_the_same_record_gives_the_same_figure_and_no_patching_none():
    assert patching.figures(recorded()) == patching.figures(recorded())
    assert patching.figures(build()) == ()
