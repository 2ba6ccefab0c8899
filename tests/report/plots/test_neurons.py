from __future__ import annotations

import re

from lsa_audit.records import AuditRecord
from lsa_audit.report.plots import neurons


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_classes_are_counted_and_extremes_are_labelled(samples: dict[str, AuditRecord]) -> None:
    (figure,) = neurons.figures(samples["clean"])
    shown = labels(figure.svg)
    assert {"fragile (3)", "robust (9)", "null (4)", "targeting score", "accuracy drop (points)"} <= set(shown)
    assert {"7", "14", "12"} <= set(shown)


def test_each_class_has_a_shape_of_its_own() -> None:
    assert len({marker for _, marker, _ in neurons.CLASS_STYLES.values()}) == 3
    assert len({colour for colour, _, _ in neurons.CLASS_STYLES.values()}) == 3


def test_neurons_without_a_score_are_counted(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    table = record.neurons[0]
    blind = tuple(n.model_copy(update={"targeting_score": None}) if n.neuron_index < 2 else n for n in table.neurons)
    changed = record.model_copy(update={"neurons": (table.model_copy(update={"neurons": blind}),)})
    assert "2 neurons without a targeting score left out." in neurons.figures(changed)[0].description


def test_more_layers_than_figures_are_counted(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"]
    shown = neurons.figures(record.model_copy(update={"neurons": record.neurons * 6}))
    assert len(shown) == neurons.FIGURE_LIMIT
    assert "2 more layers in the tables only." in shown[-1].description


def test_without_neurons_or_scores_there_is_a_sentence_and_no_axis(samples: dict[str, AuditRecord]) -> None:
    for name, sentence in (("clean-only", "No neuron was dropped"), ("nothing-known", "has a targeting score")):
        (figure,) = neurons.figures(samples[name])
        assert figure.svg == ""
        assert sentence in figure.description
