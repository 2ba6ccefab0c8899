from __future__ import annotations

from lsa_audit.page.view import Group, Paragraph, Table
from lsa_audit.records import AuditRecord
from lsa_audit.reporting.neuron_layers import MARK
from lsa_audit.reporting.sections import neurons

from ..builders import build, dropped, related, walked
from ..neuron_records import LAYERS


def many(count: int) -> AuditRecord:
    """Two fragile neurons in all but every third layer; the record is not in the order of execution."""
    names = tuple(f"layer{place:03}" for place in range(count))
    tables = [dropped(name, "pgd@linf-0.0313725", 3) for name in names]
    quiet = tuple(neuron for neuron in tables[0].neurons if neuron.clean.neuron_class != "fragile")
    tables = [
        table.model_copy(update={"neurons": quiet}) if place % 3 == 0 else table for place, table in enumerate(tables)
    ]
    return build(graph=walked(names), neurons=tuple(tables[::-1]))


def titles(table: Table) -> list[str]:
    return [column.title for column in table.columns]


def cell(table: Table, layer: str, title: str) -> str:
    (row,) = (row for row in table.rows if row.cells[0] == layer)
    return row.cells[titles(table).index(title)]


def test_layers_stand_in_the_order_of_execution(samples: dict[str, AuditRecord]) -> None:
    record = samples["every-layer"]
    for table in (neurons.layer_table(record), neurons.targeting_table(record)):
        assert [row.cells[0] for row in table.rows] == list(LAYERS)


def test_a_row_sums_up_its_layer(samples: dict[str, AuditRecord]) -> None:
    table = neurons.layer_table(samples["every-layer"])
    figures = dict(zip(titles(table), table.rows[0].cells, strict=True))
    assert figures == {
        "layer": "conv1",
        "neurons": "16",
        "fragile": "8",
        "robust": "8",
        "null": "0",
        "share fragile": "50.0 %",
        "fragile under attack": "3",
        "Gini": "0.4",
        "largest accuracy drop": "18.8 %",
        "95 % interval": "16.8 to 21.8 %",
        "of neuron": "0",
        "measured": "16",
    }


def test_estimates_are_marked_and_measured_figures_are_not(samples: dict[str, AuditRecord]) -> None:
    record = samples["every-layer"]
    layers, correlations = neurons.layer_table(record), neurons.targeting_table(record)
    for table in (layers, correlations):
        for row in table.rows:
            whole = row.cells[0] in (LAYERS[0], LAYERS[-1])
            assert (MARK in "".join(row.cells)) is not whole
    # A neuron measured on all clean images keeps its drop unmarked where others of its layer are estimates.
    assert cell(layers, "layer1.0.conv1", "fragile") == f"{MARK} 5"
    assert cell(layers, "layer1.0.conv1", "largest accuracy drop") == "8.8 %"
    assert cell(layers, "layer2.0.conv1", "largest accuracy drop") == f"{MARK} 2.6 %"


def test_the_direction_is_told_for_each_layer_and_the_network(samples: dict[str, AuditRecord]) -> None:
    record = samples["every-layer"]
    directions = [row.cells[-1] for row in neurons.targeting_table(record).rows]
    assert directions == ["more"] * 5 + ["not settled"] * 7 + ["less"] * 4
    sentence = neurons.network_sentence(record)
    assert sentence.startswith("In 5 of 16 layers the attack moves a neuron the more, ")
    assert "in 4 the less, and in 7 this is not settled" in sentence
    assert "Holm-corrected over the layers" in sentence


def test_correlations_that_each_hold_may_not_hold_over_all_layers() -> None:
    weak = (related("accuracy_drop", 0.5, 0.03), related("margin_drop", 0.5, 0.03))
    one, two = (dropped(name, "pgd@linf-0.0313725", correlations=weak) for name in ("conv1", "linear"))
    assert "In 0 of 2 layers" in neurons.network_sentence(build(neurons=(one, two)))
    assert "In 1 of 1 layer " in neurons.network_sentence(build(neurons=(one,)))


def test_a_long_table_keeps_the_layers_with_the_most_fragile_neurons() -> None:
    record = many(105)
    table = neurons.layer_table(record)
    assert len(table.rows) == neurons.LAYER_LIMIT
    assert [row.cells[0] for row in table.rows] == sorted(row.cells[0] for row in table.rows)
    assert {row.cells[2] for row in table.rows} == {"2"}
    assert table.note.endswith("45 more layers with 20 fragile neurons in all: see record.json.")


def test_only_some_layers_show_their_neurons_and_the_rest_is_counted() -> None:
    record = many(30)
    blocks = neurons.section(record).blocks
    groups = [block for block in blocks if isinstance(block, Group)]
    assert len(groups) == neurons.TABLE_LIMIT
    assert all(group.folded for group in groups)
    assert groups[0].title == "Neurons of layer001: 2 of 3 fragile"
    assert blocks[-1] == Paragraph("18 more layers with 16 fragile neurons in all: see record.json.")


def test_few_layers_stand_open_and_a_single_one_has_no_sentence_for_the_network(
    samples: dict[str, AuditRecord],
) -> None:
    blocks = neurons.section(samples["clean"]).blocks
    assert [block.folded for block in blocks if isinstance(block, Group)] == [False]
    assert not [block for block in blocks if isinstance(block, Paragraph) and "not settled" in block.text]


def test_self_labels_rename_the_drop(samples: dict[str, AuditRecord]) -> None:
    assert "largest prediction stability drop" in titles(neurons.layer_table(samples["self-labels"]))
