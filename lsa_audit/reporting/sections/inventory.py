"""The layers of a model as the walker found them."""

from __future__ import annotations

from ...page import text
from ...page.view import Column, Row, Table
from ...records import GraphInfo, LayerInfo

OP_WIDTH = 12


def layer_inventory(graph: GraphInfo) -> Table:
    """One row for each layer in the order of execution."""
    columns = (
        Column("layer", "name"),
        Column("kind"),
        Column("op"),
        Column("output shape"),
        Column("neurons", "number"),
        Column("parameters", "number"),
        Column("FLOPs", "number"),
    )
    return Table("Layers in the order of execution", columns, tuple(_row(layer) for layer in graph.layers))


def _row(layer: LayerInfo) -> Row:
    cells = (
        text.name(layer.name),
        layer.kind,
        text.name(layer.op, OP_WIDTH),
        text.shape(layer.output_shape),
        text.count(layer.neurons),
        text.count(layer.parameters),
        text.scaled(layer.flops),
    )
    return Row(cells, "" if layer.parameters else "quiet")


def totals(graph: GraphInfo) -> Row:
    """The last line: how many layers, and the sums."""
    neurons = sum(layer.neurons or 0 for layer in graph.layers)
    parameters = sum(layer.parameters for layer in graph.layers)
    flops = sum(layer.flops for layer in graph.layers)
    layers = text.quantity(len(graph.layers), "layer")
    return Row((layers, "", "", "", text.count(neurons), text.count(parameters), text.scaled(flops)))
