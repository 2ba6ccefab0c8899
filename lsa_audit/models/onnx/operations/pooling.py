"""Pools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from .base import Node, Operation
from .padding import before_and_after, is_symmetric, pad_dimensions

MAXIMA: Mapping[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
AVERAGES: Mapping[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}
ADAPTIVE: Mapping[int, Callable[..., Tensor]] = {
    1: functional.adaptive_avg_pool1d,
    2: functional.adaptive_avg_pool2d,
    3: functional.adaptive_avg_pool3d,
}


@dataclass(frozen=True)
class Window:
    """A sliding window over the spatial dimensions.

    Attributes:
        pads: first all in front, then all behind.
        surplus: behind that, what the last window of each dimension reaches into when sizes are rounded up.
    """

    kernel: Sequence[int]
    stride: Sequence[int]
    dilation: Sequence[int]
    pads: Sequence[int]
    surplus: Sequence[int]

    @property
    def plain(self) -> bool:
        """Whether torch's own pools take it."""
        fits = all(2 * pad <= width for pad, width in zip(self.pads, self.kernel, strict=False))
        return fits and is_symmetric(self.pads) and not any(self.surplus)


def _window(node: Node, sizes: Sequence[int]) -> Window:
    rank = len(sizes)
    kernel = node.integers("kernel_shape") or list(sizes)
    stride = node.integers("strides") or [1] * rank
    dilation = node.integers("dilations") or [1] * rank
    pads = before_and_after(node, sizes, kernel, stride, dilation)
    surplus = [0] * rank
    if node.integer("ceil_mode", 0) and node.text("auto_pad", "NOTSET") == "NOTSET":
        for axis, size in enumerate(sizes):
            padded = size + pads[axis] + pads[rank + axis]
            rest = padded - (kernel[axis] - 1) * dilation[axis] - 1
            steps = -(-rest // stride[axis])
            if steps * stride[axis] >= size + pads[axis]:
                steps -= 1  # a window must not start behind the values
            surplus[axis] = max(steps * stride[axis] - rest, 0)
    return Window(kernel, stride, dilation, pads, surplus)


def max_pool(node: Node, values: Tensor) -> Tensor:
    """MaxPool; padding never wins."""
    window = _window(node, list(values.shape[2:]))
    rank = len(window.kernel)
    pads = list(window.pads)
    if not window.plain:
        behind = [pad + more for pad, more in zip(pads[rank:], window.surplus, strict=True)]
        lowest = -torch.inf if values.is_floating_point() else torch.iinfo(values.dtype).min
        values, pads = pad_dimensions(values, [*pads[:rank], *behind], lowest), [0] * rank
    return MAXIMA[rank](values, window.kernel, window.stride, pads[:rank], window.dilation)


def average_pool(node: Node, values: Tensor) -> Tensor:
    """AveragePool; padding counts only with `count_include_pad`, what lies behind it never."""
    window = _window(node, list(values.shape[2:]))
    rank = len(window.kernel)
    counted = bool(node.integer("count_include_pad", 0))
    if window.plain and set(window.dilation) == {1}:
        settings = (window.kernel, window.stride, window.pads[:rank])
        return AVERAGES[rank](values, *settings, count_include_pad=counted)
    ones = torch.ones([1, 1, *values.shape[2:]], dtype=values.dtype, device=values.device)
    ones = pad_dimensions(ones, window.pads, 1.0 if counted else 0.0)
    sums, counts = _sums(pad_dimensions(values, window.pads), window), _sums(ones, window)
    return sums / counts


def _sums(padded: Tensor, window: Window) -> Tensor:
    """Sum over each window, as shifted and strided slices added up."""
    rank = len(window.kernel)
    padded = pad_dimensions(padded, [*[0] * rank, *window.surplus])
    reach = [(width - 1) * gap for width, gap in zip(window.kernel, window.dilation, strict=True)]
    ends = [size - extent for size, extent in zip(padded.shape[2:], reach, strict=True)]
    total: Tensor | None = None
    for offsets in product(*(range(width) for width in window.kernel)):
        part = padded
        for axis, offset in enumerate(offsets):
            start = offset * window.dilation[axis]
            index = [slice(None)] * part.dim()
            index[axis + 2] = slice(start, start + ends[axis], window.stride[axis])
            part = part[tuple(index)]
        total = part if total is None else total + part
    assert total is not None  # noqa: S101 - a window holds at least one value
    return total


def global_average(_: Node, values: Tensor) -> Tensor:
    """GlobalAveragePool."""
    rank = values.dim() - 2
    return ADAPTIVE[rank](values, 1)


def global_max(_: Node, values: Tensor) -> Tensor:
    """GlobalMaxPool."""
    return values.amax(list(range(2, values.dim())), keepdim=True)


def global_lp(node: Node, values: Tensor) -> Tensor:
    """GlobalLpPool."""
    axes = list(range(2, values.dim()))
    norm: Tensor = torch.linalg.vector_norm(values, node.integer("p", 2), axes, keepdim=True)
    return norm


POOLING: Mapping[str, Operation] = {
    "AveragePool": Operation(average_pool),
    "GlobalAveragePool": Operation(global_average),
    "GlobalLpPool": Operation(global_lp),
    "GlobalMaxPool": Operation(global_max),
    "MaxPool": Operation(
        max_pool, refuses=lambda node: "positions of the maxima as an output" if any(node.used[1:]) else ""
    ),
}
