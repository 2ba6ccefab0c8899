from __future__ import annotations

from lsa_audit.records import AuditRecord
from lsa_audit.reporting.sections import inventory


def test_layers_and_their_sums(samples: dict[str, AuditRecord]) -> None:
    graph = samples["clean"].graph
    table = inventory.layer_inventory(graph)
    assert table.rows[0].cells == ("conv1", "learnable", "conv2d", "16x32x32", "16", "2,304", "4.72 M")
    assert len(table.rows) == len(graph.layers)
    assert inventory.totals(graph).cells == ("7 layers", "", "", "", "202", "64,512", "75.5 M")


def test_unknown_neurons_are_a_dash_and_layers_without_parameters_are_quiet(samples: dict[str, AuditRecord]) -> None:
    graph = samples["clean"].graph
    blank = graph.layers[0].model_copy(update={"neurons": None, "parameters": 0, "op": "scaled_dot_product_attention"})
    (row,) = inventory.layer_inventory(graph.model_copy(update={"layers": (blank,)})).rows
    assert row.cells[4] == "–"  # noqa: RUF001
    assert len(row.cells[2]) == inventory.OP_WIDTH
    assert row.tone == "quiet"
