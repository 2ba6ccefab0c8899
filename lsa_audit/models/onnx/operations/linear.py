"""Matrix products."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from .base import Node, Number, Operation, flat_bias


def gemm(node: Node, left: Tensor, right: Tensor, bias: Tensor | Number | None = None) -> Tensor:
    """Gemm: alpha * left @ right + beta * bias, either factor transposed; a linear layer where `right` is a weight."""
    left = left.t() if node.integer("transA", 0) else left
    weight = right if node.integer("transB", 0) else right.t()
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    weight = weight if alpha == 1 else weight * alpha
    if bias is None:
        return functional.linear(left, weight)
    if isinstance(bias, Tensor):
        bias = bias if beta == 1 else bias * beta
        shape = (1,) * (2 - bias.dim()) + tuple(bias.shape)
        if shape[0] > 1:
            return functional.linear(left, weight) + bias
        return functional.linear(left, weight, flat_bias(bias, len(weight)))
    return functional.linear(left, weight, weight.new_full((len(weight),), bias * beta))


def matmul(node: Node, left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """MatMul as numpy defines it; a linear layer where `right` is a weight [in, out].

    `bias` is the operand of the addition that alone reads the product: the exporters write a linear layer on sequences
    in these two nodes.
    """
    if 1 in node.constants and right.dim() == 2 and (bias is None or bias.dim() <= left.dim()):
        return functional.linear(left, right.t(), flat_bias(bias, right.shape[1]))
    product = torch.matmul(left, right)
    return product if bias is None else product + bias


def einsum(node: Node, *operands: Tensor) -> Tensor:
    """Einsum."""
    return torch.einsum(node.text("equation", "").replace(" ", ""), *operands)


LINEAR: Mapping[str, Operation] = {
    "Gemm": Operation(gemm),
    "MatMul": Operation(matmul),
    "Einsum": Operation(einsum),
}
