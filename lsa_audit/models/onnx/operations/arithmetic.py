"""Arithmetic, comparisons and logic, element by element with broadcasting."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from .base import Node, Number, Operation, tensor_like

Operand = Tensor | Number


def divide(_: Node, left: Operand, right: Operand) -> Tensor:
    """Div; integers are rounded towards zero."""
    left, right = _tensors(left, right)
    if left.is_floating_point() or right.is_floating_point():
        return left / right
    return torch.div(left, right, rounding_mode="trunc")


def modulo(node: Node, left: Operand, right: Operand) -> Tensor:
    """Mod: with the sign of the divisor, or with that of the dividend as C's fmod has it."""
    left, right = _tensors(left, right)
    return torch.fmod(left, right) if node.integer("fmod", 0) else torch.remainder(left, right)


def power(_: Node, base: Operand, exponent: Operand) -> Tensor:
    """Pow; the result has the type of the base."""
    if isinstance(base, Tensor):
        return torch.pow(base, exponent).to(base.dtype)
    assert isinstance(exponent, Tensor)  # noqa: S101 - one operand is a tensor
    return torch.pow(base, exponent)


def _tensors(left: Operand, right: Operand) -> tuple[Tensor, Tensor]:
    if isinstance(left, Tensor):
        return left, tensor_like(right, left)
    assert isinstance(right, Tensor)  # noqa: S101 - one operand is a tensor
    return tensor_like(left, right), right


def _binary(function: Callable[[Any, Any], Any]) -> Operation:
    return Operation(lambda _, left, right: function(left, right))


def _of_tensors(function: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    return Operation(lambda _, left, right: function(*_tensors(left, right)))


def _variadic(function: Callable[[Any, Any], Any]) -> Operation:
    return Operation(lambda _, *operands: reduce(function, operands))


def _unary(function: Callable[[Tensor], Tensor]) -> Operation:
    return Operation(lambda _, values: function(values))


def _maximum(left: Operand, right: Operand) -> Tensor:
    return torch.maximum(*_tensors(left, right))


def _minimum(left: Operand, right: Operand) -> Tensor:
    return torch.minimum(*_tensors(left, right))


def _mean(_: Node, *operands: Tensor) -> Tensor:
    total: Tensor = reduce(operator.add, operands)
    return total / len(operands)


def _where(_: Node, condition: Tensor | bool, left: Operand, right: Operand) -> Tensor:
    """Where; torch takes numbers for the two values, but not for all three operands at once."""
    if isinstance(condition, Tensor):
        return torch.where(condition, left, right)
    left, right = _tensors(left, right)
    return torch.where(torch.tensor(condition, device=left.device), left, right)


def _is_infinite(node: Node, values: Tensor) -> Tensor:
    negative = torch.isneginf(values) if node.integer("detect_negative", 1) else torch.zeros_like(values).bool()
    return negative | torch.isposinf(values) if node.integer("detect_positive", 1) else negative


ARITHMETIC: Mapping[str, Operation] = {
    "Abs": _unary(torch.abs),
    "Acos": _unary(torch.acos),
    "Add": _binary(operator.add),
    "And": _of_tensors(torch.logical_and),
    "Asin": _unary(torch.asin),
    "Atan": _unary(torch.atan),
    "Ceil": _unary(torch.ceil),
    "Cos": _unary(torch.cos),
    "Cosh": _unary(torch.cosh),
    "Div": Operation(divide),
    "Equal": _binary(operator.eq),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "Greater": _binary(operator.gt),
    "GreaterOrEqual": _binary(operator.ge),
    "IsInf": Operation(_is_infinite),
    "IsNaN": _unary(torch.isnan),
    "Less": _binary(operator.lt),
    "LessOrEqual": _binary(operator.le),
    "Log": _unary(torch.log),
    "Max": _variadic(_maximum),
    "Mean": Operation(_mean),
    "Min": _variadic(_minimum),
    "Mod": Operation(modulo),
    "Mul": _binary(operator.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _of_tensors(torch.logical_or),
    "Pow": Operation(power),
    "Reciprocal": _unary(torch.reciprocal),
    "Round": _unary(torch.round),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Sinh": _unary(torch.sinh),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _binary(operator.sub),
    "Sum": _variadic(operator.add),
    "Tan": _unary(torch.tan),
    "Where": Operation(_where),
    "Xor": _of_tensors(torch.logical_xor),
}
