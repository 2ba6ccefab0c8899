from __future__ import annotations

import re

import pytest

from lsa_audit.records import AuditRecord, FilterCurve, FilteredWeights, FilterName, Filters
from lsa_audit.reporting.plots import filters
from lsa_audit.stats.statistics import estimate

from ..builders import build

NAMES: tuple[FilterName, ...] = ("high-pass", "low-pass", "pulse")
POSITIONS = tuple(place / 24 for place in range(25))


def measured(clean: int = 180, adversarial: int = 90, attack: str = "pgd@linf-0.0313725") -> Filters:
    """Every filter takes the weights out evenly; accuracies fall to a tenth."""
    curves = tuple(
        FilterCurve(
            filter=name,
            thresholds=POSITIONS,
            kept=tuple(1 - position for position in POSITIONS),
            clean=tuple(clean / 200 * (1 - 0.9 * position) for position in POSITIONS),
            adversarial=tuple(adversarial / 200 * (1 - 0.9 * position) for position in POSITIONS),
            clean_score=0.05 if clean else None,
            adversarial_score=-0.123 if adversarial else None,
            difference_score=0.0 if adversarial else None,
        )
        for name in NAMES
    )
    return Filters(
        perturbation=attack,
        samples=200,
        clean=estimate(clean, 200),
        adversarial=estimate(adversarial, 200),
        network=FilteredWeights(layer=None, weights=1_000, curves=curves),
        layers=(),
    )


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_there_is_no_figure_where_no_filter_was_measured(samples: dict[str, AuditRecord]):
    assert filters.figures(samples["clean"]) == ()


@pytest.mark.slow
def test_a_panel_for_each_filter_with_three_lines():
    (figure,) = filters.figures(build(filters=measured()))
    shown = labels(figure.svg)
    assert [label for label in shown if label in NAMES] == list(NAMES)
    assert {"weights left (d)", "accuracy (p)", "under attack (q)", "threshold (0: least filtering)"} <= set(shown)
    assert shown.count("accuracy (p)") == 1
    assert figure.svg.count("var(--series-1)") > 25
    assert figure.svg.count("var(--series-2)") > 25


@pytest.mark.slow
def test_the_description_holds_the_scores_and_the_attack():
    (figure,) = filters.figures(build(filters=measured()))
    assert "on clean images and under pgd 8/255" in figure.description
    assert "Low-pass: score 0.05 clean, \N{MINUS SIGN}0.123 under attack." in figure.description


def test_an_accuracy_of_zero_has_no_line():
    (figure,) = filters.figures(build(filters=measured(adversarial=0)))
    assert "under attack (q)" not in labels(figure.svg)
    assert "the line under attack is missing" in figure.description
    (nothing,) = filters.figures(build(filters=measured(clean=0, adversarial=0)))
    assert nothing.svg == ""
    assert "no image right" in nothing.description


def test_names_are_escaped(hostile_name: str):
    (figure,) = filters.figures(build(filters=measured(attack=hostile_name)))
    assert "<script>" not in figure.svg
    assert "\x1b" not in figure.description
