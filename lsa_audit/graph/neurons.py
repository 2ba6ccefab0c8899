"""Along which dimension of a value the neurons lie: channels of convolutions, features of linear layers.

Set where a layer makes neurons, carried along by operations that keep them apart, unknown (None) after everything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import fx

from .structure import Shape, Structure, operation

MAKERS: dict[str, int] = {
    "conv1d": 1,
    "conv2d": 1,
    "conv3d": 1,
    "conv_transpose1d": 1,
    "conv_transpose2d": 1,
    "conv_transpose3d": 1,
    "convolution": 1,
    "batch_norm": 1,
    "group_norm": 1,
    "instance_norm": 1,
    "linear": -1,
    "bilinear": -1,
    "embedding_bag": -1,
    "layer_norm": -1,
    "rms_norm": -1,
}

MIXERS = frozenset(
    {"matmul", "mm", "bmm", "addmm", "baddbmm", "mv", "einsum", "scaled_dot_product_attention", "embedding"}
)
"""Their last dimension holds neurons only where it was made by parameters."""


def neuron_dims(structure: Structure) -> dict[fx.Node, int]:
    """Dimension of the neurons for each node where it is known, counted from 0, the batch included."""
    known: dict[fx.Node, int] = {}
    for node in structure.graph.nodes:
        shape = structure.shapes.get(node)
        if node not in structure.dependent or node.op == "placeholder" or not shape:
            continue
        dim = _dim(structure, node, shape, known)
        if dim is not None and 0 <= dim < len(shape):
            known[node] = dim
    return known


def _dim(structure: Structure, node: fx.Node, shape: Shape, known: dict[fx.Node, int]) -> int | None:
    name = operation(node)
    if name == "getitem" and isinstance(node.args[0], fx.Node) and operation(node.args[0]) in MAKERS:
        # The first of several values is the layer's.
        name = operation(node.args[0]) if node.args[1] == 0 else name
    if name in MAKERS:
        return MAKERS[name] % len(shape)
    if name in MIXERS:
        return _product(structure, node, name, shape)
    for operand in structure.tensors(node):
        before = structure.shapes.get(operand)
        if operand in known and before is not None:
            if name in MOVERS:
                return MOVERS[name](node, known[operand], before, shape)
            if before == shape or (len(before) == len(shape) and before[known[operand]] == shape[known[operand]]):
                return known[operand]
    return None


def _product(structure: Structure, node: fx.Node, name: str, shape: Shape) -> int | None:
    if not structure.parameters(node) or len(structure.tensors(node)) != 1:
        return None
    if name != "einsum":
        last = node.args[-1] if name in {"matmul", "mm", "bmm"} else node.args[2] if len(node.args) > 2 else None
        return len(shape) - 1 if isinstance(last, fx.Node) and last not in structure.dependent else None
    equation, operands = node.args[0], node.args[1]
    assert isinstance(equation, str)  # noqa: S101 - the schema of einsum says so
    assert isinstance(operands, list | tuple)  # noqa: S101
    left, _, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    inputs = {
        label for term, operand in zip(terms, operands, strict=True) if operand in structure.dependent for label in term
    }
    own = [position for position, label in enumerate(right) if label not in inputs and label != "."]
    return own[0] if len(own) == 1 and "..." not in right else None


def _permuted(node: fx.Node, dim: int, before: Shape, _: Shape) -> int | None:
    order = node.args[1]
    assert isinstance(order, list | tuple)  # noqa: S101
    return [entry % len(before) for entry in order if isinstance(entry, int)].index(dim)


def _transposed(node: fx.Node, dim: int, before: Shape, _: Shape) -> int | None:
    one, other = (entry % len(before) for entry in node.args[1:3] if isinstance(entry, int))
    return {one: other, other: one}.get(dim, dim)


def _reshaped(_: fx.Node, dim: int, before: Shape, after: Shape) -> int | None:
    """The dimension of the same size with the same number of elements before and after it."""
    ahead = math.prod(before[:dim])
    for position, size in enumerate(after):
        if size == before[dim] and math.prod(after[:position]) == ahead:
            return position
    return None


def _reduced(node: fx.Node, dim: int, before: Shape, after: Shape) -> int | None:
    given = node.args[1] if len(node.args) > 1 else None
    dims = {
        entry % len(before)
        for entry in (given if isinstance(given, list | tuple) else [given])
        if isinstance(entry, int)
    }
    if dim in dims or not dims:
        return None
    return dim if len(before) == len(after) else dim - sum(other < dim for other in dims)


MOVERS: dict[str, Callable[[fx.Node, int, Shape, Shape], int | None]] = {
    "permute": _permuted,
    "transpose": _transposed,
    "reshape": _reshaped,
    "flatten": _reshaped,
    "unflatten": _reshaped,
    "unsqueeze": _reshaped,
    "squeeze": _reshaped,
    "mean": _reduced,
    "amax": _reduced,
    "sum": _reduced,
    "select": _reduced,
}
