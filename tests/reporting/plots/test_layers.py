from __future__ import annotations

import re

import pytest

from lsa_audit.page.drawing import SERIES, Figure
from lsa_audit.records import AuditRecord
from lsa_audit.reporting.plots import layers
from lsa_audit.units import format_epsilon


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def heights(svg: str) -> dict[str, float]:
    return {name: float(y) for y, name in re.findall(r'<text[^>]* y="([0-9.-]+)"[^>]*>([^<]*)</text>', svg)}


def with_first_layer(record: AuditRecord, mean: float) -> AuditRecord:
    """The record with another mean of its first layer, under every perturbation."""
    entries = []
    for entry in record.sustainability:
        layer = entry.layers[0].model_copy(update={"mean": mean, "low": mean, "high": mean})
        entries.append(entry.model_copy(update={"layers": (layer, *entry.layers[1:])}))
    return record.model_copy(update={"sustainability": tuple(entries)})


def first(record: AuditRecord) -> Figure:
    return layers.figures(record)[0]


def test_layers_run_from_top_to_bottom_in_depth_order(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    places = heights(first(record).svg)
    rows = [places[layer.name] for layer in record.graph.layers]
    assert rows == sorted(rows)


def test_every_perturbation_is_in_the_figure_of_its_epsilon(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    figures = layers.figures(record)
    epsilons = sorted({result.perturbation.epsilon for result in record.attacks}, reverse=True)
    assert [figure.title.rpartition(" ")[2] for figure in figures] == [format_epsilon(epsilon) for epsilon in epsilons]
    for epsilon, figure in zip(epsilons, figures, strict=True):
        names = {r.perturbation.name for r in record.attacks if r.perturbation.epsilon == epsilon}
        measured = {entry.perturbation.partition("@")[0] for entry in record.sustainability}
        assert names & measured <= set(labels(figure.svg))


@pytest.mark.slow
def test_the_ring_is_explained_where_there_is_one(samples: dict[str, AuditRecord]) -> None:
    assert "most vulnerable (MVL)" in labels(first(samples["clean"]).svg)
    assert "most vulnerable (MVL)" not in labels(first(samples["empty-mvl"]).svg)


@pytest.mark.slow
def test_the_axis_is_named_after_the_measure_and_logarithmic_when_the_range_needs_it(
    samples: dict[str, AuditRecord],
) -> None:
    assert "mean relative error (log scale)" in labels(first(with_first_layer(samples["clean"], 1e-4)).svg)
    assert "mean relative error" in labels(first(samples["findings"]).svg)
    cosine = [entry.model_copy(update={"measure": "cosine"}) for entry in samples["findings"].sustainability]
    record = samples["findings"].model_copy(update={"sustainability": tuple(cosine)})
    assert "mean cosine distance" in labels(first(record).svg)


def test_of_many_layers_some_are_named_the_vulnerable_ones_among_them(samples: dict[str, AuditRecord]) -> None:
    record = samples["large"]
    shown = [label for label in labels(first(record).svg) if "conv" in label]
    assert 40 <= len(shown) <= layers.LABEL_LIMIT
    assert any("elayer12.conv2" in label for label in shown)


def test_more_perturbations_than_colours_are_counted(samples: dict[str, AuditRecord]) -> None:
    record = samples["findings"]
    entry, result = record.sustainability[0], record.attacks[0]
    extra = [f"extra{n}" for n in range(len(SERIES) + 3)]
    perturbations = [result.perturbation.model_copy(update={"id": name, "name": name}) for name in extra]
    changed = record.model_copy(
        update={
            "attacks": tuple(result.model_copy(update={"perturbation": each}) for each in perturbations),
            "sustainability": tuple(entry.model_copy(update={"perturbation": name}) for name in extra),
        }
    )
    assert "3 more perturbations in the table only." in first(changed).description


def test_more_epsilons_than_figures_are_counted(samples: dict[str, AuditRecord]) -> None:
    record = samples["findings"]
    entry, result = record.sustainability[0], record.attacks[0]
    epsilons = [0.01 * (n + 1) for n in range(layers.FIGURE_LIMIT + 2)]
    perturbations = [result.perturbation.model_copy(update={"id": f"e{e}", "epsilon": e}) for e in epsilons]
    changed = record.model_copy(
        update={
            "attacks": tuple(result.model_copy(update={"perturbation": each}) for each in perturbations),
            "sustainability": tuple(entry.model_copy(update={"perturbation": f"e{e}"}) for e in epsilons),
        }
    )
    figures = layers.figures(changed)
    assert len(figures) == layers.FIGURE_LIMIT
    assert "2 more epsilons in the table only." in figures[-1].description


def test_a_measure_of_zero_is_told_on_a_log_scale(samples: dict[str, AuditRecord]) -> None:
    record = with_first_layer(samples["clean"], 1e-4)
    assert "A value of 0" not in first(record).description
    entry = record.sustainability[0]
    zero = entry.layers[1].model_copy(update={"mean": 0.0, "low": 0.0, "high": 0.0})
    entries = [
        entry.model_copy(update={"layers": (entry.layers[0], zero, *entry.layers[2:])})
        for entry in record.sustainability
    ]
    changed = record.model_copy(update={"sustainability": tuple(entries)})
    assert "A value of 0 is drawn on the left edge." in first(changed).description


def test_without_a_measure_there_is_a_sentence_and_no_axis(samples: dict[str, AuditRecord]) -> None:
    figure = first(samples["clean-only"])
    assert (figure.svg, figure.description) == ("", "No layer has a measure, so there is no figure of the layers.")
