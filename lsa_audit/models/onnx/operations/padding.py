"""Padding: as an operation of its own, and the automatic kind of convolutions and pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from .base import Node, Number, Operation

MODES = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def before_and_after(
    node: Node, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """Padding of each spatial dimension, first all in front and then all behind, as `pads` or `auto_pad` say."""
    automatic = node.text("auto_pad", "NOTSET")
    if automatic not in {"SAME_UPPER", "SAME_LOWER"}:
        given = node.integers("pads") if automatic == "NOTSET" else None
        return given or [0] * (2 * len(sizes))
    front, behind = [], []
    for size, width, step, gap in zip(sizes, kernel, stride, dilation, strict=True):
        total = max((-(-size // step) - 1) * step + (width - 1) * gap + 1 - size, 0)
        less, more = total // 2, total - total // 2
        front.append(less if automatic == "SAME_UPPER" else more)
        behind.append(more if automatic == "SAME_UPPER" else less)
    return [*front, *behind]


def is_symmetric(pads: Sequence[int]) -> bool:
    """Whether every dimension is padded by the same amount in front and behind, and nothing is cut off."""
    half = len(pads) // 2
    return list(pads[:half]) == list(pads[half:]) and min(pads, default=0) >= 0


def pad_dimensions(values: Tensor, pads: Sequence[int], fill: Number = 0.0) -> Tensor:
    """Pad (or, where negative, cut) the last dimensions; `pads` as ONNX orders them."""
    half = len(pads) // 2
    sides = zip(reversed(pads[:half]), reversed(pads[half:]), strict=True)
    pairs = [amount for side in sides for amount in side]
    return functional.pad(values, pairs, value=fill)


def pad(
    node: Node,
    values: Tensor,
    amounts: list[int] | None = None,
    fill: Tensor | Number | None = None,
    axes: list[int] | None = None,
) -> Tensor:
    """Pad, of every opset: amounts as attribute or operand, for all axes or for some."""
    given = node.integers("pads") if amounts is None else amounts
    sides = given or [0] * (2 * values.dim())
    half = len(sides) // 2
    front, behind = [0] * values.dim(), [0] * values.dim()
    for position, axis in enumerate(range(values.dim()) if axes is None else axes):
        front[axis], behind[axis] = sides[position], sides[half + position]
    mode = node.text("mode", "constant")
    if mode == "constant":
        number = node.number("value", 0.0) if fill is None else fill
        number = number.reshape(()).item() if isinstance(number, Tensor) else number
        return pad_dimensions(values, [*front, *behind], number)
    for axis, (before, after) in enumerate(zip(front, behind, strict=True)):
        if before or after:
            values = _repeat(values, axis, before, after, mode)
    return values


def _repeat(values: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    kept = numpy.arange(values.shape[axis])[max(-before, 0) : values.shape[axis] - max(-after, 0)]
    chosen = numpy.pad(kept, (max(before, 0), max(after, 0)), mode=MODES[mode])  # type: ignore[call-overload]
    return values.index_select(axis, torch.tensor(chosen.tolist(), device=values.device))


PADDING: Mapping[str, Operation] = {"Pad": Operation(pad, numbers=frozenset({1, 3}))}
