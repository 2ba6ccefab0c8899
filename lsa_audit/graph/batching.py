"""Makes a graph dynamic that was traced for one batch size, as `len(images)` in a forward forces it to be.

The batch size at tracing is a number that no dimension of a network is likely to hold. Every literal that is a multiple
of it becomes that multiple of the batch size at run time. Nothing proves that this is right, so the walker compares
logits at two other batch sizes before it believes the graph.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.symbolic_shapes import is_concrete_int

TRACED_SIZE = 127
NO_SIZE = 2**40
"""Larger numbers are no sizes: `x[n:]` ends at 2**63 - 1, which 127 happens to divide."""


def traced_batch(images: Tensor) -> Tensor:
    """The first image, seen `TRACED_SIZE` times without a copy."""
    return images[:1].expand(TRACED_SIZE, *images.shape[1:])


def is_static(graph_module: fx.GraphModule) -> bool:
    """Whether the graph was traced for one batch size only."""
    (images,) = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
    value = images.meta.get("val")
    return isinstance(value, Tensor) and is_concrete_int(value.shape[0])


def make_dynamic(graph_module: fx.GraphModule) -> None:
    """Replace every multiple of `TRACED_SIZE` among the arguments, in place."""
    graph = graph_module.graph
    (images,) = [node for node in graph.nodes if node.op == "placeholder"]
    nodes = [node for node in graph.nodes if node.op == "call_function"]
    with graph.inserting_after(images):
        size = graph.call_function(torch.ops.aten.sym_size.int, (images, 0))
    for node in nodes:
        node.args = _replaced(graph, node, size, node.args)
        node.kwargs = _replaced(graph, node, size, node.kwargs)
    graph.eliminate_dead_code()
    graph_module.recompile()


def _replaced(graph: fx.Graph, node: fx.Node, size: fx.Node, value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_replaced(graph, node, size, entry) for entry in value)
    if isinstance(value, dict):
        return {name: _replaced(graph, node, size, entry) for name, entry in value.items()}
    if type(value) is not int or not 0 < value < NO_SIZE or value % TRACED_SIZE:
        return value
    if value == TRACED_SIZE:
        return size
    with graph.inserting_before(node):
        return graph.call_function(operator.mul, (size, value // TRACED_SIZE))
