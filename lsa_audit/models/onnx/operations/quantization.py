"""Quantised operations, in float arithmetic; every rounding lets gradients through unchanged.

Quantised values are floats that hold whole numbers between the operation that made them and the one that reads them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .base import DTYPES, Node, Number, Operation
from .convolution import conv

Operand = Tensor | Number
LIMITS: Mapping[int, tuple[int, int]] = {21: (0, 15), 22: (-8, 7), 4: (0, 65535), 5: (-32768, 32767)}
"""Of the types that torch holds in a larger one."""


def straight_through(values: Tensor) -> Tensor:
    """Round to the nearest whole number, to even at ties; the gradient is that of the identity."""
    return values - (values - torch.round(values)).detach()


def quantize(node: Node, values: Tensor, scale: Operand, zero_point: Operand | None = None) -> Tensor:
    """QuantizeLinear, per tensor or along one axis."""
    low, high = _limits(node, zero_point, 2)
    return _quantized(values, _along(node, scale, values), _along(node, zero_point, values), low, high)


def dequantize(node: Node, values: Tensor, scale: Operand, zero_point: Operand | None = None) -> Tensor:
    """DequantizeLinear, per tensor or along one axis."""
    factor = _along(node, scale, values)
    values = values if values.is_floating_point() else values.float()
    return (values - _along(node, zero_point, values)) * factor


def dynamic_quantize(_: Node, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """DynamicQuantizeLinear: scale and zero point from the values of the whole batch."""
    low, high = values.min().clamp(max=0), values.max().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero_point = straight_through((-low / scale).clamp(0, 255))
    return _quantized(values, scale, zero_point, 0, 255), scale, zero_point


def quantized_conv(node: Node, *operands: Operand | None) -> Tensor:
    """QLinearConv: values, scale and zero point of images, weight and output, then an integer bias."""
    images, image_scale, image_zero, weight, weight_scale, weight_zero, scale, zero_point, *rest = operands
    left = _floats(images, image_scale, image_zero)
    right = _floats(weight, _outer(weight_scale, weight), _outer(weight_zero, weight))
    bias = _floats(rest[0], _or(image_scale, 1.0), None) * _or(weight_scale, 1.0) if rest else None
    low, high = _limits(node, zero_point, 7)
    return _quantized(conv(node, left, right, bias), _or(scale, 1.0), _or(zero_point, 0), low, high)


def quantized_matmul(node: Node, *operands: Operand | None) -> Tensor:
    """QLinearMatMul: values, scale and zero point of both factors, then scale and zero point of the product."""
    left, left_scale, left_zero, right, right_scale, right_zero, scale, zero_point = operands
    product = _floats(left, left_scale, left_zero) @ _floats(right, right_scale, right_zero)
    low, high = _limits(node, zero_point, 7)
    return _quantized(product, _or(scale, 1.0), _or(zero_point, 0), low, high)


def integer_conv(
    node: Node, images: Tensor, weight: Tensor, image_zero: Operand | None = None, weight_zero: Operand | None = None
) -> Tensor:
    """ConvInteger."""
    return conv(node, _floats(images, 1.0, image_zero), _floats(weight, 1.0, _outer(weight_zero, weight)))


def integer_matmul(
    _: Node, left: Tensor, right: Tensor, left_zero: Operand | None = None, right_zero: Operand | None = None
) -> Tensor:
    """MatMulInteger."""
    rows = left_zero.unsqueeze(-1) if isinstance(left_zero, Tensor) and left_zero.dim() == 1 else left_zero
    return _floats(left, 1.0, rows) @ _floats(right, 1.0, right_zero)


def _quantized(values: Tensor, scale: Operand, zero_point: Operand, low: int, high: int) -> Tensor:
    whole = straight_through(values / scale) + zero_point
    # not by clamp: its gradient at the limits themselves is not the same in every torch
    return torch.where(whole < low, low, torch.where(whole > high, high, whole))


def _floats(values: Operand | None, scale: Operand | None, zero_point: Operand | None) -> Tensor:
    assert isinstance(values, Tensor)  # noqa: S101 - the standard requires this operand
    whole = values if values.is_floating_point() else values.float()
    return (whole - _or(zero_point, 0)) * _or(scale, 1.0)


def _or(value: Operand | None, default: Number) -> Operand:
    """An integer tensor becomes a float one: int8 arithmetic would wrap around."""
    if value is None:
        return default
    return value.float() if isinstance(value, Tensor) and not value.is_floating_point() else value


def _outer(value: Operand | None, weight: Operand | None) -> Operand | None:
    """A value for each output channel, laid along the first dimension of the weight."""
    if not isinstance(value, Tensor) or value.numel() == 1:
        return value
    assert isinstance(weight, Tensor)  # noqa: S101 - the standard requires this operand
    return value.reshape(-1, *[1] * (weight.dim() - 1))


def _along(node: Node, value: Operand | None, values: Tensor) -> Operand:
    """A scale or zero point, one number or a vector along `axis`, in a shape that broadcasts."""
    given = _or(value, 0)
    if not isinstance(given, Tensor) or given.dim() == 0 or given.numel() == 1:
        return given.reshape(()) if isinstance(given, Tensor) else given
    shape = [1] * values.dim()
    shape[node.integer("axis", 1)] = -1
    return given.reshape(shape)


def _limits(node: Node, zero_point: Operand | None, position: int) -> tuple[int, int]:
    if "output_dtype" in node.attributes and node.attributes["output_dtype"] in LIMITS:
        return LIMITS[node.attributes["output_dtype"]]
    dtype = node.constants.get(position, node.dtype("output_dtype", torch.uint8))
    if isinstance(zero_point, Tensor) and not zero_point.is_floating_point():
        dtype = zero_point.dtype
    limits = torch.iinfo(dtype)
    return limits.min, limits.max


def _in_blocks(node: Node) -> str:
    kind = node.attributes.get("output_dtype", 2)
    return "blocks" if node.integer("block_size", 0) else "" if kind in DTYPES else f"type {kind}"


ROUNDS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"})
"""Operations whose gradient goes straight through a rounding."""

QUANTIZATION: Mapping[str, Operation] = {
    "ConvInteger": Operation(integer_conv),
    "DequantizeLinear": Operation(dequantize, refuses=_in_blocks),
    "DynamicQuantizeLinear": Operation(dynamic_quantize),
    "MatMulInteger": Operation(integer_matmul),
    "QLinearConv": Operation(quantized_conv),
    "QLinearMatMul": Operation(quantized_matmul),
    "QuantizeLinear": Operation(quantize, refuses=_in_blocks),
}
