"""From an exported graph to its layer table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from ..models.base import PixelModel
from ..records import GraphInfo, LayerInfo, Skipped
from .base import Graph, Layer, Layout
from .batch_layout import IN_TRIPLE, find_layout, pair_and_triple, per_image_shape, same
from .finding import FoundLayer, find, find_blocks
from .naming import names
from .neurons import neuron_dims
from .ownership import flop_counts, parameter_counts, unused
from .replay import is_specialized
from .structure import Shape, Structure, analyse, operation
from .taps import Visitor, run_graph

PRODUCERS = frozenset(
    {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"}
)
"""Layers whose neurons are dropped behind the batch norm that alone follows them."""


@dataclass(frozen=True)
class _Table:
    """The columns of the layer table before anything was verified, in the order of execution."""

    found: Sequence[FoundLayer]
    names: Sequence[str]
    parameters: Sequence[int]
    flops: Sequence[int]
    dims: Mapping[fx.Node, int]


@dataclass(frozen=True)
class _Comparison:
    """What runs on [a, b] and [c, b, a] showed, by node; `independent`: whether the logits of a and b were the same."""

    layouts: Mapping[fx.Node, Layout]
    shapes: Mapping[fx.Node, Shape | None]
    independent: bool


def describe(graph_module: fx.GraphModule, module: PixelModel, images: Tensor, parity: float) -> Graph:
    """The layers of an exported graph, each verified on real values.

    Args:
        module: the PixelModel that was exported.
        images: [3, ...], three different images a, b, c.
        parity: as measured, for the record.

    Cost: one forward on two and two on three images; the layers' values on two images are held until compared.
    """
    structure = analyse(graph_module, module, images)
    found = find(structure)
    found = sorted([*found, *find_blocks(structure, found)], key=lambda layer: structure.order[layer.site])
    parameters, homeless = parameter_counts(structure, found)
    table = _Table(found, names(structure, found), parameters, flop_counts(structure, found), neuron_dims(structure))
    comparison = _compare(graph_module, images, found)
    skipped, unassigned = unused(homeless), sum(count for _, count, _ in homeless)
    layers = []
    for index, layer in enumerate(found):
        if layer.site in comparison.layouts:
            layers.append(_layer(structure, table, comparison, index))
        else:
            skipped.append(unknown_layout(table.names[index], parameters[index]))
            unassigned += parameters[index]
    info = GraphInfo(
        walker="export",
        specialized=is_specialized(graph_module),
        parity=parity,
        batch_independent=comparison.independent,
        layers=tuple(layer.info for layer in layers),
        skipped=tuple(skipped),
    )
    return Graph(info, tuple(layers), graph_module, unassigned)


def unknown_layout(name: str, parameters: int) -> Skipped:
    """A layer whose value could not be split into images."""
    held = f"; it holds {parameters} parameters" if parameters else ""
    detail = f"an image's part of its value was not the same in two batches, so it cannot be told from the others{held}"
    return Skipped(what=f"layer {name}", reason="batch-dimension-unknown", detail=detail)


def _layer(structure: Structure, table: _Table, comparison: _Comparison, index: int) -> Layer:
    layer, layout = table.found[index], comparison.layouts[table.found[index].site]
    dim = table.dims.get(layer.site)
    dim = None if dim == layout.batch_dim else dim
    info = LayerInfo(
        name=table.names[index],
        kind=layer.kind,
        op=layer.op,
        input_shape=comparison.shapes.get(layer.entry) if layer.entry is not None else None,
        output_shape=comparison.shapes[layer.site] or (),
        neurons=None if dim is None else structure.shapes[layer.site][dim],
        neuron_dim=dim,
        parameters=table.parameters[index],
        flops=table.flops[index],
    )
    norm = _following_norm(table, layer)
    if norm is None:
        return Layer(info, layer.site.name, layer.site.name, info.name, layout.batch_dim, layout.batch_outer)
    label = f"{table.names[norm]} (the batch norm after {info.name})"
    drop_site = table.found[norm].site.name
    return Layer(info, layer.site.name, drop_site, label, layout.batch_dim, layout.batch_outer)


def _following_norm(table: _Table, layer: FoundLayer) -> int | None:
    """Index of the batch norm that is the only one to read a convolution or linear layer and keeps its neurons."""
    if operation(layer.node) not in PRODUCERS or len(layer.site.users) != 1:
        return None
    reader = next(iter(layer.site.users))
    if operation(reader) != "batch_norm" or reader.args[0] is not layer.site:
        return None
    if table.dims.get(reader) != table.dims.get(layer.site):
        return None
    return next((index for index, other in enumerate(table.found) if other.site is reader), None)


def _compare(graph_module: fx.GraphModule, images: Tensor, found: Sequence[FoundLayer]) -> _Comparison:
    sites = {layer.site for layer in found}
    nodes = {node.name: node for layer in found for node in (layer.site, layer.entry) if node is not None}
    held: dict[fx.Node, Tensor] = {}
    shapes: dict[fx.Node, Shape | None] = {}
    layouts: dict[fx.Node, Layout] = {}

    def first(node: fx.Node) -> Visitor:
        def visit(value: Tensor) -> None:
            shapes[node] = tuple(value.shape)
            if node in sites:
                held[node] = value

        return visit

    def second(node: fx.Node) -> Visitor:
        def visit(value: Tensor) -> None:
            shapes[node] = per_image_shape(shapes[node] or (), tuple(value.shape))
            layout = find_layout(held.pop(node), value) if node in sites else None
            if layout is not None:
                layouts[node] = layout

        return visit

    pair, triple = pair_and_triple(images)
    with torch.no_grad():
        two = run_graph(graph_module, pair, {name: [first(node)] for name, node in nodes.items()})
        three = run_graph(graph_module, triple, {name: [second(node)] for name, node in nodes.items()})
    return _Comparison(layouts, shapes, same(two, three[IN_TRIPLE]))
