"""A product or convolution with weights and the addition of its bias become one operation, which is what they are.

Exporters and `torch.func.vmap` write a linear layer as a product and an addition. The layer's value, and the neuron
that is dropped, is what comes out behind the addition. What one module computes and another adds to stays apart: the
value of the first is what it returns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx

from .structure import calls_of, operation

PRODUCTS: dict[str, int] = {
    "linear": 1,
    "matmul": 1,
    "mm": 1,
    "conv1d": 2,
    "conv2d": 3,
    "conv3d": 4,
    "conv_transpose1d": 2,
    "conv_transpose2d": 3,
    "conv_transpose3d": 4,
}
"""The dimension of the neurons in what they return, counted from the last."""

SHAPES = frozenset({"reshape", "view", "_unsafe_view", "unsqueeze", "squeeze", "clone", "contiguous", "flatten"})
"""They keep what lies along the last dimension where its size stays."""


def join_biases(graph: fx.Graph) -> None:
    """Rewrite, in place, each product with a weight whose only reader adds a bias: one number a neuron, or one for all.

    Between a matrix product and the addition, values may change their shape as long as the neurons stay the last
    dimension. Where anything is unclear, nothing changes.
    """
    fixed = _independent(graph)
    for node in list(graph.nodes):
        if operation(node) == "addmm":
            _as_linear(graph, node, fixed)
    for node in list(graph.nodes):
        if operation(node) in PRODUCTS and _weight(node, fixed) is not None:
            values = _added(node)
            bias = None if values is None else _bias(values, PRODUCTS[operation(node)], fixed)
            if values is not None and bias is not None:
                _join(graph, node, values, bias)


def _as_linear(graph: fx.Graph, node: fx.Node, fixed: set[fx.Node]) -> None:
    """A sum of a bias and a product with a weight, written as one operation."""
    bias, values, weight = node.args[:3]
    if not isinstance(bias, fx.Node) or not isinstance(values, fx.Node) or not isinstance(weight, fx.Node):
        return
    plain = not node.kwargs and len(node.args) == 3 and values not in fixed and {bias, weight} <= fixed
    plain = plain and _dtype(bias) == _dtype(values)
    neurons = _shape(weight)[-1:]
    if not plain or not neurons or not _fits(_shape(bias), 2, 1, neurons[0]):
        return
    with graph.inserting_before(node):
        bias = _vector(graph, bias, neurons[0])
        joined = graph.call_function(torch.ops.aten.linear.default, (values, _turned(graph, weight), bias))
    joined.meta = dict(node.meta)
    node.replace_all_uses_with(joined)
    graph.erase_node(node)


def _independent(graph: fx.Graph) -> set[fx.Node]:
    """Tensors that parameters and constants alone make."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        calls = node.op == "call_function" and node.all_input_nodes
        if node.op == "get_attr" or (calls and all(operand in found for operand in node.all_input_nodes)):
            found.add(node)
    return found


def _weight(node: fx.Node, fixed: set[fx.Node]) -> fx.Node | None:
    """The second factor, where it is made of parameters, the first is not, and there is no bias."""
    if len(node.args) < 2 or (len(node.args) > 2 and node.args[2] is not None) or node.kwargs:
        return None
    values, weight = node.args[:2]
    if not isinstance(values, fx.Node) or not isinstance(weight, fx.Node) or weight not in fixed or values in fixed:
        return None
    return weight if PRODUCTS[operation(node)] > 1 or len(_shape(weight)) == 2 else None


def _added(product: fx.Node) -> fx.Node | None:
    """The product as the addition that alone reads it takes it, perhaps in another shape with the same last dimension.

    None where something else reads it.
    """
    node = product
    while len(node.users) == 1:
        (reader,) = node.users
        if operation(reader) == "add":
            plain = reader.args.count(node) == 1 and reader.kwargs.get("alpha", 1) == 1
            return node if plain and calls_of(reader)[-1:] == calls_of(product)[-1:] else None
        moves = PRODUCTS[operation(product)] == 1 and operation(reader) in SHAPES and reader.args[0] is node
        if not moves or _shape(reader)[-1:] != _shape(node)[-1:]:
            return None
        node = reader
    return None


def _bias(values: fx.Node, dim: int, fixed: set[fx.Node]) -> fx.Node | None:
    """The other operand of the addition, where it holds a bias along this dimension, counted from the last."""
    (addition,) = values.users
    others = [operand for operand in addition.args if isinstance(operand, fx.Node) and operand in fixed]
    shape = _shape(values)
    if len(others) != 1 or len(shape) < dim or len({_dtype(node) for node in (values, addition, *others)}) > 1:
        return None
    return others[0] if _fits(_shape(others[0]), len(shape), dim, shape[-dim]) else None


def _fits(bias: tuple[Any, ...], dims: int, dim: int, neurons: int) -> bool:
    """Whether a shape adds one number a neuron, or one to all, to a value of so many dimensions."""
    places = enumerate(bias, -len(bias))
    return len(bias) <= dims and all(size == 1 or (place == -dim and size == neurons) for place, size in places)


def _join(graph: fx.Graph, product: fx.Node, values: fx.Node, bias: fx.Node) -> None:
    operand, weight = product.args[:2]
    (addition,) = values.users
    bias = _plain(bias)
    for needed in _behind(bias, product):
        product.prepend(needed)
    dim = PRODUCTS[operation(product)]
    with graph.inserting_before(product):
        bias = _vector(graph, bias, _shape(product)[-dim])
        if operation(product) in {"matmul", "mm"}:
            weight = _turned(graph, weight)
        target: Any = torch.ops.aten.linear.default if dim == 1 else product.target
        joined = graph.call_function(target, (operand, weight, bias, *product.args[3:]))
    joined.meta = dict(product.meta)
    addition.replace_all_uses_with(values)
    graph.erase_node(addition)
    product.replace_all_uses_with(joined)
    graph.erase_node(product)


def _vector(graph: fx.Graph, bias: fx.Node, neurons: int) -> fx.Node:
    """A bias as [neurons]."""
    shape = _shape(bias)
    if shape == (neurons,):
        return bias
    flat = bias if len(shape) == 1 else graph.call_function(torch.ops.aten.reshape.default, (bias, [-1]))
    if math.prod(shape) == neurons:
        return flat
    return graph.call_function(torch.ops.aten.expand.default, (flat, [neurons]))


def _turned(graph: fx.Graph, weight: Any) -> fx.Node:
    """The factor [in, out] as a linear operation takes it, [out, in]."""
    if operation(weight) == "t" and isinstance(weight.args[0], fx.Node):
        return weight.args[0]
    turned = graph.call_function(torch.ops.aten.t.default, (weight,))
    turned.meta = {"val": weight.meta["val"].t()} if isinstance(weight.meta.get("val"), Tensor) else {}
    return turned


def _plain(bias: fx.Node) -> fx.Node:
    """The bias without a multiplication by one."""
    while operation(bias) == "mul" and bias.args[1] == 1 and isinstance(bias.args[0], fx.Node):
        bias = bias.args[0]
    return bias


def _behind(node: fx.Node, place: fx.Node) -> Iterator[fx.Node]:
    """What a value of constants is made of and does not yet stand before a place, in order."""
    order = {one: position for position, one in enumerate(node.graph.nodes)}
    waiting, found = [node], set()
    while waiting:
        one = waiting.pop()
        if order[one] > order[place] and one not in found:
            found.add(one)
            waiting += one.all_input_nodes
    yield from sorted(found, key=order.__getitem__)


def _shape(node: fx.Node) -> tuple[Any, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _dtype(node: fx.Node) -> Any:
    value = node.meta.get("val")
    return value.dtype if isinstance(value, Tensor) else None
