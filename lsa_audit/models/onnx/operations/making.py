"""What makes values from numbers: constants, ranges, shapes, types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .base import DTYPES, Node, Number, Operation, Value

SMALL = 16
"""Up to so many integers stay Python numbers, which shape arithmetic needs."""


def constant_of_shape(node: Node, shape: list[int], device: torch.device) -> Value:
    """ConstantOfShape."""
    fill, dtype = node.attributes.get("value", (0.0, torch.float32))
    if len(shape) < 2 and not dtype.is_floating_point and all(type(size) is int for size in shape):
        few = shape[0] if shape else 1
        if few <= SMALL:
            return [fill] * few if shape else fill
    return torch.full(shape, fill, dtype=dtype, device=device)


def range_(_: Node, start: Number, limit: Number, delta: Number, device: torch.device) -> Value:
    """Range."""
    if all(type(bound) is int for bound in (start, limit, delta)):
        numbers = range(int(start), int(limit), int(delta))
        if len(numbers) <= SMALL:
            return list(numbers)
    return torch.arange(start, limit, delta, device=device)


def shape(node: Node, values: Tensor) -> Value:
    """Shape, or a stretch of it."""
    return list(values.shape)[slice(node.integer("start", 0), node.attributes.get("end"))]


def size(_: Node, values: Tensor) -> Value:
    """Size."""
    return values.numel()


def cast(node: Node, values: Tensor) -> Tensor:
    """Cast."""
    return values.to(node.dtype("to"))


def cast_like(_: Node, values: Tensor, other: Tensor) -> Tensor:
    """CastLike."""
    return values.to(other.dtype)


def eye_like(node: Node, values: Tensor) -> Tensor:
    """EyeLike."""
    rows, columns = values.shape
    along = torch.arange(columns, device=values.device) - torch.arange(rows, device=values.device).unsqueeze(1)
    return (along == node.integer("k", 0)).to(node.dtype("dtype", values.dtype))


def _unknown_type(key: str) -> Any:
    def refuses(node: Node) -> str:
        number = node.attributes.get(key, 1)
        return "" if number in DTYPES else f"type {number}"

    return refuses


MAKING: Mapping[str, Operation] = {
    "Cast": Operation(cast, refuses=_unknown_type("to")),
    "CastLike": Operation(cast_like),
    "ConstantOfShape": Operation(constant_of_shape, numbers=frozenset({0}), makes=True),
    "EyeLike": Operation(eye_like, refuses=_unknown_type("dtype")),
    "Range": Operation(range_, numbers=frozenset({0, 1, 2}), makes=True),
    "Shape": Operation(shape),
    "Size": Operation(size),
}
