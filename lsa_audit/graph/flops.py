"""Arithmetic of one operation: two for each multiply-add of convolutions and matrix products, nothing for the rest.

Recurrent layers are fused operations whose steps the graph does not show; they count 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import fx

from .structure import Shape, arguments, operation

Shapes = Mapping[fx.Node, Shape]


def flops(node: fx.Node, shapes: Shapes) -> int:
    """For the whole batch of which `shapes` holds the shapes; 0 for operations that are not products."""
    formula = FORMULAS.get(operation(node))
    return formula(node, shapes) if formula is not None else 0


def convolution(inputs: Shape, weight: Shape, output: Shape, transposed: bool) -> int:
    """Weight [O, C / groups, ...], or [C, O / groups, ...] when transposed: each position meets one slice of it."""
    positions = inputs if transposed else output
    return 2 * math.prod(positions) * math.prod(weight[1:])


def linear(weight: Shape, output: Shape) -> int:
    """Weight [O, I]."""
    return 2 * math.prod(output) * weight[-1]


def bilinear(weight: Shape, output: Shape) -> int:
    """Weight [O, I, J]: the first operand with the weight, then their product with the second operand."""
    return 2 * math.prod(output) * (weight[1] * weight[2] + weight[2])


def _convolution(node: fx.Node, shapes: Shapes) -> int:
    inputs, weight = _operands(node, shapes)[:2]
    transposed = "transpose" in operation(node) or (operation(node) == "convolution" and bool(node.args[6]))
    return convolution(inputs, weight, shapes[node], transposed)


def _linear(node: fx.Node, shapes: Shapes) -> int:
    return linear(_operands(node, shapes)[1], shapes[node])


def _bilinear(node: fx.Node, shapes: Shapes) -> int:
    return bilinear(_operands(node, shapes)[2], shapes[node])


def _embedding_bag(node: fx.Node, shapes: Shapes) -> int:
    """Rows of the table [V, D] that are weighted before they are summed up; without weights there is no product."""
    named = arguments(node)
    table, weights = named["weight"], named.get("per_sample_weights")
    if not isinstance(table, fx.Node) or not isinstance(weights, fx.Node):
        return 0
    return 2 * math.prod(shapes[weights]) * shapes[table][-1]


def _product(node: fx.Node, shapes: Shapes) -> int:
    return 2 * math.prod(shapes[node]) * _operands(node, shapes)[0][-1]


def _product_after_sum(node: fx.Node, shapes: Shapes) -> int:
    return 2 * math.prod(shapes[node]) * _operands(node, shapes)[1][-1]


def _attention(node: fx.Node, shapes: Shapes) -> int:
    query, key, value = _operands(node, shapes)[:3]
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _einsum(node: fx.Node, shapes: Shapes) -> int:
    """Operands are contracted from left to right, as torch does."""
    equation, operands = node.args[0], node.args[1]
    assert isinstance(equation, str)  # noqa: S101 - the schema of einsum says so
    assert isinstance(operands, list | tuple)  # noqa: S101
    given = [shapes[operand] for operand in operands if isinstance(operand, fx.Node)]
    left, _, right = equation.replace(" ", "").partition("->")
    terms = [_spelled_out(term, shape) for term, shape in zip(left.split(","), given, strict=True)]
    sizes = {
        label: size for term, shape in zip(terms, given, strict=True) for label, size in zip(term, shape, strict=True)
    }
    wanted = set(right) | {label for label in sizes if label.isdigit() and "..." in right}
    total, held = 0, set(terms[0])
    for position, term in enumerate(terms[1:], start=2):
        union = held | set(term)
        total += 2 * math.prod(sizes[label] for label in union)
        later = wanted | {label for other in terms[position:] for label in other}
        held = {label for label in union if label in later}
    return total


def _spelled_out(term: str, shape: Shape) -> str:
    """The ellipsis as digits, counted from its end."""
    hidden = len(shape) - len(term.replace("...", ""))
    return term.replace("...", "".join(str(hidden - 1 - position) for position in range(hidden)))


def _operands(node: fx.Node, shapes: Shapes) -> list[Shape]:
    return [shapes[operand] for operand in node.args if isinstance(operand, fx.Node) and operand in shapes]


FORMULAS: dict[str, Callable[[fx.Node, Shapes], int]] = {
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "conv_transpose1d": _convolution,
    "conv_transpose2d": _convolution,
    "conv_transpose3d": _convolution,
    "convolution": _convolution,
    "linear": _linear,
    "bilinear": _bilinear,
    "embedding_bag": _embedding_bag,
    "matmul": _product,
    "mm": _product,
    "bmm": _product,
    "mv": _product,
    "addmm": _product_after_sum,
    "baddbmm": _product_after_sum,
    "scaled_dot_product_attention": _attention,
    "einsum": _einsum,
}
