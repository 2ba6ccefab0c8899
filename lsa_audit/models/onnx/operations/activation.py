"""Activations, and softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from .base import Node, Number, Operation, tensor_like


def leaky_relu(node: Node, values: Tensor) -> Tensor:
    """LeakyRelu."""
    return functional.leaky_relu(values, node.number("alpha", 0.01))


def prelu(_: Node, values: Tensor, slope: Tensor | Number) -> Tensor:
    """PRelu; the slope broadcasts to the values from the last dimension on."""
    slopes = tensor_like(slope, values)
    per_channel = values.dim() > 1 and slopes.dim() == values.dim() - 1 and slopes.numel() == slopes.shape[0]
    if slopes.numel() == 1 or (per_channel and slopes.numel() == values.shape[1]):
        return functional.prelu(values, slopes.flatten())
    return torch.where(values < 0, values * slopes, values)


def elu(node: Node, values: Tensor) -> Tensor:
    """Elu."""
    return functional.elu(values, node.number("alpha", 1.0))


def selu(node: Node, values: Tensor) -> Tensor:
    """Selu with its own alpha and gamma."""
    alpha = node.number("alpha", 1.67326319217681884765625)
    return functional.elu(values, alpha) * node.number("gamma", 1.05070102214813232421875)


def celu(node: Node, values: Tensor) -> Tensor:
    """Celu."""
    return functional.celu(values, node.number("alpha", 1.0))


def gelu(node: Node, values: Tensor) -> Tensor:
    """Gelu, exact or by tanh."""
    return functional.gelu(values, approximate=node.text("approximate", "none"))


def hard_sigmoid(node: Node, values: Tensor) -> Tensor:
    """HardSigmoid with its own slope and offset."""
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    if beta == 0.5 and abs(alpha * 6 - 1) < 1e-6:
        return functional.hardsigmoid(values)
    return torch.clamp(values * alpha + beta, 0, 1)


def softplus(_: Node, values: Tensor) -> Tensor:
    """Softplus, without torch's switch to the identity."""
    return functional.softplus(values, threshold=80)


def swish(node: Node, values: Tensor) -> Tensor:
    """Swish: x times the sigmoid of alpha x."""
    alpha = node.number("alpha", 1.0)
    return functional.silu(values) if alpha == 1 else values * torch.sigmoid(values * alpha)


def thresholded_relu(node: Node, values: Tensor) -> Tensor:
    """ThresholdedRelu."""
    return functional.threshold(values, node.number("alpha", 1.0), 0.0)


def shrink(node: Node, values: Tensor) -> Tensor:
    """Shrink."""
    width, bias = node.number("lambd", 0.5), node.number("bias", 0.0)
    zero = torch.zeros_like(values)
    return torch.where(values < -width, values + bias, torch.where(values > width, values - bias, zero))


def clip(node: Node, values: Tensor, low: Tensor | Number | None = None, high: Tensor | Number | None = None) -> Tensor:
    """Clip, with bounds as attributes or operands; a relu6 where they are 0 and 6."""
    lowest = node.attributes.get("min") if low is None else low
    highest = node.attributes.get("max") if high is None else high
    if isinstance(lowest, float) and isinstance(highest, float) and (lowest, highest) == (0.0, 6.0):
        return functional.relu6(values)
    if isinstance(lowest, Tensor) or isinstance(highest, Tensor):
        values = values if lowest is None else torch.maximum(values, tensor_like(lowest, values))
        return values if highest is None else torch.minimum(values, tensor_like(highest, values))
    return values if lowest is None and highest is None else torch.clamp(values, lowest, highest)


def _softmax(function: Callable[[Tensor, int], Tensor]) -> Callable[[Node, Tensor], Tensor]:
    """Along one axis since opset 13; over all dimensions from `axis` on before it."""

    def run(node: Node, values: Tensor) -> Tensor:
        if node.opset >= 13:
            return function(values, node.integer("axis", -1))
        axis = node.integer("axis", 1) % values.dim()
        if axis == values.dim() - 1:
            return function(values, axis)
        return function(values.flatten(axis), axis).reshape(values.shape)

    return run


def _plain(function: Callable[[Tensor], Tensor]) -> Operation:
    return Operation(lambda _, values: function(values))


ACTIVATION: Mapping[str, Operation] = {
    "Celu": Operation(celu),
    "Clip": Operation(clip),
    "Elu": Operation(elu),
    "Erf": _plain(torch.erf),
    "Gelu": Operation(gelu),
    "HardSigmoid": Operation(hard_sigmoid),
    "HardSwish": _plain(functional.hardswish),
    "LeakyRelu": Operation(leaky_relu),
    "LogSoftmax": Operation(_softmax(torch.log_softmax)),
    "Mish": _plain(functional.mish),
    "PRelu": Operation(prelu),
    "Relu": _plain(functional.relu),
    "Selu": Operation(selu),
    "Shrink": Operation(shrink),
    "Sigmoid": _plain(torch.sigmoid),
    "Softmax": Operation(_softmax(torch.softmax)),
    "Softplus": Operation(softplus),
    "Softsign": _plain(functional.softsign),
    "Swish": Operation(swish),
    "Tanh": _plain(torch.tanh),
    "ThresholdedRelu": Operation(thresholded_relu),
}
