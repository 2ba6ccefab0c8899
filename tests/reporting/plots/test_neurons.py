from __future__ import annotations

import re

from lsa_audit.records import AuditRecord
from lsa_audit.reporting.plots import neurons

from ..builders import build, dropped, effect, walked

HOLLOW = 'fill-opacity="0" stroke="var(--good)"'


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


def test_the_layers_with_the_most_fragile_neurons_are_drawn_in_depth_order(samples: dict[str, AuditRecord]) -> None:
    shown = neurons.figures(samples["every-layer"])
    drawn = [figure.title.removeprefix("Neurons of ") for figure in shown]
    assert drawn == ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1"]
    for figure in shown:
        assert "One of the 4 layers with the most fragile neurons; 12 more layers" in figure.description


def test_estimates_are_hollow_and_told(samples: dict[str, AuditRecord]) -> None:
    whole, partly, *_ = neurons.figures(samples["every-layer"])
    assert "hollow" not in whole.description
    assert "hollow" in partly.description
    assert HOLLOW not in whole.svg
    assert HOLLOW in partly.svg


def test_a_wide_layer_draws_only_its_largest_changes() -> None:
    count = neurons.MARK_LIMIT + 500
    table = dropped("conv1", "pgd@linf-0.0313725", 1)
    wide = tuple(
        table.neurons[0].model_copy(update={"neuron_index": index, "clean": effect(0.0001 * (index - count // 2))})
        for index in range(count)
    )
    (figure,) = neurons.figures(build(graph=walked(("conv1",)), neurons=(table.model_copy(update={"neurons": wide}),)))
    assert "500 neurons with smaller changes left out." in figure.description
    (fragile,) = (label for label in labels(figure.svg) if label.startswith("fragile"))
    assert fragile == f"fragile ({sum(n.clean.neuron_class == 'fragile' for n in wide)})"
    assert len(figure.svg) < 200_000


def test_without_neurons_or_scores_there_is_a_sentence_and_no_axis(samples: dict[str, AuditRecord]) -> None:
    for name, sentence in (("clean-only", "No neuron was dropped"), ("nothing-known", "has a targeting score")):
        (figure,) = neurons.figures(samples[name])
        assert figure.svg == ""
        assert sentence in figure.description
