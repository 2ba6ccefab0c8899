"""Arithmetic on shapes: the operations above on Python numbers alone.

The dimensions of a batch that is free when a network is exported are symbols; as entries of numpy's object arrays they
go through indexing, joining and arithmetic like integers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from .base import Node, Value, axes_of

Numbers = NDArray[numpy.object_]


def run(function: Callable[..., Any], node: Node, operands: tuple[Value, ...]) -> Value | tuple[Value, ...]:
    """One operation on numbers and lists of them."""
    result = function(node, *(None if operand is None else numpy.array(operand, dtype=object) for operand in operands))
    if isinstance(result, tuple):
        return tuple(_plain(part) for part in result)
    return _plain(result)


def _plain(result: Any) -> Value:
    plain: Value = result.tolist() if isinstance(result, numpy.ndarray) else result
    return plain


def _each(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    each = numpy.frompyfunc(function, count, 1)
    return lambda _, *operands: each(*operands)


def _pairs(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    each = numpy.frompyfunc(function, 2, 1)
    return lambda _, *operands: reduce(each, operands)


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, float) or isinstance(right, float):
        return left / right
    whole = abs(left) // abs(right)
    return whole if (left >= 0) == (right >= 0) else -whole


def _root(number: Any) -> Any:
    return torch.sym_sqrt(number) if isinstance(number, torch.SymFloat) else math.sqrt(number)


def _cast(node: Node, numbers: Numbers) -> Any:
    dtype = node.dtype("to")
    if dtype == torch.bool:
        return numpy.frompyfunc(bool, 1, 1)(numbers)
    convert = torch.sym_float if dtype.is_floating_point else torch.sym_int
    return numpy.frompyfunc(convert, 1, 1)(numbers)


def _gather(node: Node, numbers: Numbers, indices: Numbers) -> Any:
    return numpy.take(numbers, indices.astype(int), axis=node.integer("axis", 0))


def _slice(node: Node, numbers: Numbers, *bounds: Numbers) -> Any:
    named = dict(zip(("starts", "ends", "axes", "steps"), ([int(e) for e in bound] for bound in bounds), strict=False))
    starts = named.get("starts", node.integers("starts") or [])
    ends = named.get("ends", node.integers("ends") or [])
    axes = named.get("axes", node.integers("axes") or range(len(starts)))
    for start, end, axis, step in zip(starts, ends, axes, named.get("steps", [1] * len(starts)), strict=True):
        numbers = numbers[(*[slice(None)] * (axis % numbers.ndim), slice(start, end, step))]
    return numbers


def _squeeze(node: Node, numbers: Numbers, axes: Numbers | None = None) -> Any:
    chosen = axes_of(node, None if axes is None else axes.tolist())
    return numpy.squeeze(numbers, None if chosen is None else tuple(chosen))


def _unsqueeze(node: Node, numbers: Numbers, axes: Numbers | None = None) -> Any:
    return numpy.expand_dims(numbers, tuple(axes_of(node, None if axes is None else axes.tolist()) or ()))


def _split(node: Node, numbers: Numbers, sizes: Numbers | None = None) -> Any:
    wanted = node.integers("split") if sizes is None else [int(size) for size in sizes]
    axis = node.integer("axis", 0)
    wanted = wanted or [-(-numbers.shape[axis] // len(node.used))] * len(node.used)
    return tuple(numpy.split(numbers, numpy.cumsum(wanted)[:-1], axis))


def _reduced(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    each = numpy.frompyfunc(function, 2, 1)

    def run_on(node: Node, numbers: Numbers, axes: Numbers | None = None) -> Any:
        chosen = axes_of(node, None if axes is None else axes.tolist())
        along = None if not chosen else tuple(chosen)
        return each.reduce(numbers, axis=along, keepdims=bool(node.integer("keepdims", 1)))

    return run_on


def _shape(node: Node, numbers: Numbers) -> Any:
    return list(numbers.shape)[slice(node.integer("start", 0), node.attributes.get("end"))]


NUMERIC: Mapping[str, Callable[..., Any]] = {
    "Abs": _each(abs, 1),
    "Add": _pairs(operator.add),
    "And": _pairs(lambda left, right: bool(left) and bool(right)),
    "Cast": _cast,
    "Ceil": _each(math.ceil, 1),
    "Concat": lambda node, *parts: numpy.concatenate(parts, node.integer("axis", 0)),
    "Div": _pairs(_divide),
    "Equal": _pairs(operator.eq),
    "Floor": _each(math.floor, 1),
    "Gather": _gather,
    "Greater": _pairs(operator.gt),
    "GreaterOrEqual": _pairs(operator.ge),
    "Identity": lambda _, numbers: numbers,
    "Less": _pairs(operator.lt),
    "LessOrEqual": _pairs(operator.le),
    "Max": _pairs(torch.sym_max),
    "Min": _pairs(torch.sym_min),
    "Mod": _pairs(operator.mod),
    "Mul": _pairs(operator.mul),
    "Neg": _each(operator.neg, 1),
    "Not": _each(operator.not_, 1),
    "Or": _pairs(lambda left, right: bool(left) or bool(right)),
    "Pow": _pairs(operator.pow),
    "Reciprocal": _each(lambda number: 1 / number, 1),
    "ReduceMax": _reduced(torch.sym_max),
    "ReduceMin": _reduced(torch.sym_min),
    "ReduceProd": _reduced(operator.mul),
    "ReduceSum": _reduced(operator.add),
    "Reshape": lambda _, numbers, shape: numbers.reshape([int(size) for size in shape]),
    "Shape": _shape,
    "Size": lambda _, numbers: numbers.size,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _each(_root, 1),
    "Squeeze": _squeeze,
    "Sub": _pairs(operator.sub),
    "Transpose": lambda node, numbers: numbers.transpose(node.integers("perm")),
    "Unsqueeze": _unsqueeze,
    "Where": _each(lambda condition, left, right: left if condition else right, 3),
}
"""Run on these where no operand is a tensor."""
