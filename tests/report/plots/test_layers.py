from __future__ import annotations

import re

from lsa_audit.records import AuditRecord
from lsa_audit.report.plots import layers


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def heights(svg: str) -> dict[str, float]:
    return {name: float(y) for y, name in re.findall(r'<text[^>]* y="([0-9.-]+)"[^>]*>([^<]*)</text>', svg)}


def test_layers_run_from_top_to_bottom_in_depth_order(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    places = heights(layers.figure(record).svg)
    rows = [places[layer.name] for layer in record.graph.layers]
    assert rows == sorted(rows)


def test_every_perturbation_and_the_ring_are_in_the_legend(samples: dict[str, AuditRecord]) -> None:
    shown = labels(layers.figure(samples["clean"]).svg)
    assert {"fgsm 2/255", "fgsm 8/255", "pgd 2/255", "pgd 8/255", "most vulnerable (MVL)"} <= set(shown)
    assert "most vulnerable (MVL)" not in labels(layers.figure(samples["empty-mvl"]).svg)


def test_the_axis_is_named_after_the_measure_and_logarithmic_when_the_range_needs_it(
    samples: dict[str, AuditRecord],
) -> None:
    assert "mean relative error (log scale)" in labels(layers.figure(samples["clean"]).svg)
    assert "mean relative error" in labels(layers.figure(samples["findings"]).svg)
    cosine = [entry.model_copy(update={"measure": "cosine"}) for entry in samples["findings"].sustainability]
    record = samples["findings"].model_copy(update={"sustainability": tuple(cosine)})
    assert "mean cosine distance" in labels(layers.figure(record).svg)


def test_of_many_layers_some_are_named_the_vulnerable_ones_among_them(samples: dict[str, AuditRecord]) -> None:
    record = samples["large"]
    shown = [label for label in labels(layers.figure(record).svg) if "conv" in label]
    assert 40 <= len(shown) <= layers.LABEL_LIMIT
    assert any("elayer12.conv2" in label for label in shown)


def test_more_perturbations_than_colours_are_counted(samples: dict[str, AuditRecord]) -> None:
    record = samples["large"]
    more = tuple(
        entry.model_copy(update={"perturbation": f"extra{n}"}) for n, entry in enumerate(record.sustainability)
    )
    figure = layers.figure(record.model_copy(update={"sustainability": record.sustainability + more}))
    assert "6 more perturbations in the table only." in figure.description


def test_a_measure_of_zero_is_told_on_a_log_scale(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    entry = record.sustainability[3]
    zero = entry.layers[0].model_copy(update={"mean": 0.0, "low": 0.0, "high": 0.0})
    changed = entry.model_copy(update={"layers": (zero, *entry.layers[1:])})
    figure = layers.figure(record.model_copy(update={"sustainability": (*record.sustainability[:3], changed)}))
    assert "A value of 0 is drawn on the left edge." in figure.description
    assert "A value of 0" not in layers.figure(record).description


def test_without_a_measure_there_is_a_sentence_and_no_axis(samples: dict[str, AuditRecord]) -> None:
    figure = layers.figure(samples["clean-only"])
    assert (figure.svg, figure.description) == ("", "No layer has a measure, so there is no figure of the layers.")
