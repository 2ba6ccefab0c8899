"""Reads and replaces what layers put out, during one forward of a walked model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, fx

from ..models.base import Opaque, PixelModel
from .base import Graph, Layer, Layout, check_rows, split_batch
from .hooks import run_hooked

Visitor = Callable[[Tensor], Tensor | None]
"""Sees a layer's raw value; a tensor that it returns takes the value's place."""


def run(
    graph: Graph, images: Tensor, visitors: Mapping[str, Visitor], at: Literal["site", "drop_site"] = "site"
) -> Tensor:
    """The logits [N, K] of images [N, ...] in [0, 1], while visitors see the layers' values.

    A value is freed as soon as its last user has run; a visitor must not change it in place. Works with gradients and
    under `no_grad`. Several visitors at one place run in the order of the mapping, each on what the one before left.

    Args:
        visitors: layer name -> visitor.
        at: `site` is the layer's output; `drop_site` is where its consumers see its neurons.

    Raises:
        KeyError: no layer has that name.
        ValueError: a visitor wants to replace a value of a model that only its own runtime can run.
        Exception: whatever the model or a visitor raises; no hook stays behind.

    Cost: one forward.
    """
    layers = {layer.info.name: layer for layer in graph.layers}
    places: dict[str, list[Visitor]] = defaultdict(list)
    for name, visitor in visitors.items():
        places[layers[name].site if at == "site" else layers[name].drop_site].append(visitor)
    if isinstance(graph.module, fx.GraphModule):
        return run_graph(graph.module, images, places)
    in_turn = {place: _in_turn(listed) for place, listed in places.items()}
    if isinstance(graph.module, PixelModel) and isinstance(graph.module.network, Opaque):
        return run_opaque(graph.module, graph.module.network, images, in_turn)
    return run_hooked(graph.module, images, in_turn)


def view(graph: Graph, layer: Layer) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A function from images [n, ...] to the logits [n, K] and the layer's activation [n, D], with gradients."""

    def look(images: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []

        def keep(value: Tensor) -> None:
            seen.append(per_image(layer, value, len(images)))

        logits = run(graph, images, {layer.info.name: keep})
        return logits, seen[0]

    return look


def run_graph(module: fx.GraphModule, images: Tensor, places: Mapping[str, list[Visitor]]) -> Tensor:
    """The same for a graph, with visitors by node name."""
    logits = _Tapped(module, places).run(images)
    if isinstance(logits, tuple | list):
        (logits,) = logits
    if not isinstance(logits, Tensor):
        raise TypeError(f"the graph returned a {type(logits).__name__}")
    return logits


def run_opaque(module: PixelModel, network: Opaque, images: Tensor, visitors: Mapping[str, Visitor]) -> Tensor:
    """The same for a PixelModel around an opaque network, with visitors by the name of the value in the file.

    All values are held at once, and seen only after the run.

    Raises:
        ValueError: a visitor wants to replace a value.
    """
    logits, values = network.run_with(module.prepare(images), visitors)
    for name, visitor in visitors.items():
        value = values.pop(name)
        replaced = visitor(value)
        if replaced is not None and replaced is not value:
            raise ValueError(f"{name} lies inside a runtime, where values can be read but not replaced")
    return module.complete(logits)


def per_image(layer: Layer, value: Tensor, count: int) -> Tensor:
    """A layer's value on `count` images as [count, D], image i in row i. Cost: a view where the layout allows it."""
    return _split(layer, value, count).movedim(layer.batch_dim + 1, 0).reshape(count, -1)


def by_neuron(layer: Layer, value: Tensor, count: int) -> Tensor:
    """A layer's value on `count` images as [count, U, D].

    Raises:
        ValueError: the layer has no neuron dimension.
    """
    dim = _neuron_dim(layer)
    neuron = dim if dim < layer.batch_dim else dim + 2
    ordered = _split(layer, value, count).movedim((layer.batch_dim + 1, neuron), (0, 1))
    return ordered.reshape(count, value.shape[dim], -1)


def with_neuron(layer: Layer, value: Tensor, neuron_index: int, fill: Tensor | float) -> Tensor:
    """A copy of a layer's value with one neuron set to `fill`: a number, or a tensor that broadcasts to the neuron.

    Raises:
        ValueError: the layer has no neuron dimension.
        IndexError: it has fewer neurons.
    """
    copy = value.clone()
    copy.select(_neuron_dim(layer), neuron_index)[...] = fill
    return copy


class _Tapped(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, places: Mapping[str, list[Visitor]]) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self._places = places

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        visitors = self._places.get(n.name)
        return _in_turn(visitors)(value) if visitors else value


def _in_turn(visitors: list[Visitor]) -> Visitor:
    def visit(value: Tensor) -> Tensor:
        for visitor in visitors:
            replaced = visitor(value)
            value = value if replaced is None else replaced
        return value

    return visit


def _neuron_dim(layer: Layer) -> int:
    if layer.info.neuron_dim is None:
        raise ValueError(f"{layer.info.name} has no neuron dimension")
    return layer.info.neuron_dim


def _split(layer: Layer, value: Tensor, count: int) -> Tensor:
    check_rows(layer, value, count)
    if value.is_complex():
        value = torch.view_as_real(value)
    return split_batch(value, Layout(layer.batch_dim, layer.batch_outer), count)
