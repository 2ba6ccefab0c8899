"""Convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn import functional

from .base import Node, Operation, flat_bias
from .padding import before_and_after, is_symmetric, pad_dimensions

CONVOLUTIONS: Mapping[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
TRANSPOSED: Mapping[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def conv(node: Node, images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Conv: images [N, C, ...], weight [U, C / group, ...], bias of U."""
    rank = images.dim() - 2
    bias = flat_bias(bias, weight.shape[0])
    stride = node.integers("strides") or [1] * rank
    dilation = node.integers("dilations") or [1] * rank
    pads = before_and_after(node, list(images.shape[2:]), list(weight.shape[2:]), stride, dilation)
    if not is_symmetric(pads):
        images, pads = pad_dimensions(images, pads), [0] * (2 * rank)
    group = node.integer("group", 1)
    return CONVOLUTIONS[rank](images, weight, bias, stride, pads[:rank], dilation, group)


def conv_transpose(node: Node, images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """ConvTranspose: images [N, C, ...], weight [C, U / group, ...], bias of U; what `pads` names is cut off."""
    rank = images.dim() - 2
    bias = flat_bias(bias, weight.shape[1] * node.integer("group", 1))
    stride = node.integers("strides") or [1] * rank
    dilation = node.integers("dilations") or [1] * rank
    extra = node.integers("output_padding") or [0] * rank
    pads = node.integers("pads") or [0] * (2 * rank)
    full = [
        step * (size - 1) + more + (kernel - 1) * gap + 1
        for step, size, more, kernel, gap in zip(
            stride, images.shape[2:], extra, weight.shape[2:], dilation, strict=True
        )
    ]
    wanted = node.integers("output_shape")
    automatic = node.text("auto_pad", "NOTSET")
    if wanted is None and automatic.startswith("SAME"):
        wanted = [size * step for size, step in zip(images.shape[2:], stride, strict=True)]
    if wanted is not None:
        surplus = [size - kept for size, kept in zip(full, wanted[-rank:], strict=True)]
        halves = [max(size, 0) // 2 for size in surplus]
        rests = [max(size, 0) - half for size, half in zip(surplus, halves, strict=True)]
        # the larger half goes to the end for SAME_UPPER, to the beginning otherwise
        pads = [*halves, *rests] if automatic == "SAME_UPPER" else [*rests, *halves]
        extra = [more + max(-size, 0) for more, size in zip(extra, surplus, strict=True)]
    group = node.integer("group", 1)
    run = TRANSPOSED[rank]
    if is_symmetric(pads):
        return run(images, weight, bias, stride, pads[:rank], extra, group, dilation)
    return pad_dimensions(run(images, weight, bias, stride, 0, extra, group, dilation), [-size for size in pads])


def _not_as_written(node: Node) -> str:
    """Implementations differ in where an output padding above the stride goes."""
    stride = node.integers("strides") or [1]
    extra = node.integers("output_padding") or [0]
    return "output padding not below the stride" if max(extra) >= max(*stride, 2) else ""


CONVOLUTION: Mapping[str, Operation] = {
    "Conv": Operation(conv),
    "ConvTranspose": Operation(conv_transpose, refuses=_not_as_written),
}
