"""Normalisations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from .base import Node, Operation


def batch_norm(node: Node, values: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """BatchNormalization with the statistics of the file; its momentum, which training uses, is torch's counterpart."""
    settings = {"momentum": 1 - node.number("momentum", 0.9), "eps": node.number("epsilon", 1e-5)}
    return functional.batch_norm(values, mean, variance, scale, bias, training=False, **settings)


def _in_training(node: Node) -> str:
    trains = node.integer("training_mode", 0) or any(node.used[1:])
    return "statistics of the batch" if trains else ""


def layer_norm(node: Node, values: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """LayerNormalization over the dimensions from `axis` on."""
    shape = list(values.shape[node.integer("axis", -1) :])
    return functional.layer_norm(values, shape, _full(scale, shape), _full(bias, shape), node.number("epsilon", 1e-5))


def rms_norm(node: Node, values: Tensor, scale: Tensor) -> Tensor:
    """RMSNormalization over the dimensions from `axis` on."""
    shape = list(values.shape[node.integer("axis", -1) :])
    return functional.rms_norm(values, shape, _full(scale, shape), node.number("epsilon", 1e-5))


def _full(factor: Tensor | None, shape: list[int]) -> Tensor | None:
    """torch wants a scale of exactly the normalised shape where ONNX takes any that broadcasts to it."""
    return factor if factor is None or list(factor.shape) == shape else factor.expand(shape)


def instance_norm(node: Node, values: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """InstanceNormalization."""
    return functional.instance_norm(values, weight=scale, bias=bias, eps=node.number("epsilon", 1e-5))


def group_norm(node: Node, values: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """GroupNormalization; scale and bias are per group before opset 21, per channel since."""
    groups = node.integer("num_groups", 1)
    if node.opset < 21:
        each = values.shape[1] // groups
        scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
    return functional.group_norm(values, groups, scale, bias, node.number("epsilon", 1e-5))


def local_response_norm(node: Node, values: Tensor) -> Tensor:
    """LRN: division by a power of the sum of squares over `size` neighbouring channels."""
    size = node.integer("size", 1)
    front, behind = (size - 1) // 2, size // 2
    squares = functional.pad(values.square().flatten(2), (0, 0, front, behind))
    sums = squares.unfold(1, size, 1).sum(-1).reshape(values.shape)
    divisor = (sums * (node.number("alpha", 1e-4) / size) + node.number("bias", 1.0)) ** node.number("beta", 0.75)
    return values / divisor


def lp_norm(node: Node, values: Tensor) -> Tensor:
    """LpNormalization along one axis; a vector of zeros stays zero."""
    norm = torch.linalg.vector_norm(values, node.integer("p", 2), node.integer("axis", -1), keepdim=True)
    return values / torch.where(norm == 0, 1, norm)


def mean_variance_norm(node: Node, values: Tensor) -> Tensor:
    """MeanVarianceNormalization over `axes`."""
    axes = node.integers("axes") or [0, 2, 3]
    centred = values - values.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True).sqrt() + 1e-9)


NORMALIZATION: Mapping[str, Operation] = {
    "BatchNormalization": Operation(batch_norm, refuses=_in_training),
    "GroupNormalization": Operation(group_norm),
    "InstanceNormalization": Operation(instance_norm),
    "LRN": Operation(local_response_norm),
    "LayerNormalization": Operation(
        layer_norm, refuses=lambda node: "mean and deviation as outputs" if any(node.used[1:]) else ""
    ),
    "LpNormalization": Operation(lp_norm),
    "MeanVarianceNormalization": Operation(mean_variance_norm),
    "RMSNormalization": Operation(rms_norm),
}
