"""Reductions along axes, and what sorts or accumulates along one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .base import Node, Operation, axes_of

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _reduction(function: Reduction) -> Operation:
    """Axes as attribute or operand; none means all, or none at all with `noop_with_empty_axes`."""

    def run(node: Node, values: Tensor, axes: list[int] | int | None = None) -> Tensor:
        chosen = axes_of(node, axes)
        if not chosen and node.integer("noop_with_empty_axes", 0):
            return values
        return function(values, chosen or list(range(values.dim())), bool(node.integer("keepdims", 1)))

    return Operation(run, numbers=frozenset({1}))


def _sum(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    return values.sum(axes, keepdim=keep).to(values.dtype)


def _mean(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    if values.is_floating_point():
        return values.mean(axes, keepdim=keep)
    return values.double().mean(axes, keepdim=keep).to(values.dtype)


def _largest(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    # amax shares its gradient between equal values, max gives all to one: as ReduceMax of the exporters comes from both
    # of them, the smoother of the two
    return values.amax(axes, keepdim=keep)


def _smallest(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    return values.amin(axes, keepdim=keep)


def _product(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % values.dim() for axis in axes), reverse=True):
        values = values.prod(axis, keepdim=keep).to(values.dtype)
    return values


def _first_norm(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    return values.abs().sum(axes, keepdim=keep)


def _second_norm(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values, 2, axes, keepdim=keep)
    return norm


def _sum_of_squares(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    return values.square().sum(axes, keepdim=keep)


def _log_sum(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    return values.sum(axes, keepdim=keep).log()


def _log_sum_of_exponentials(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    return values.logsumexp(axes, keepdim=keep)


def _position(largest: bool) -> Operation:
    """ArgMax and ArgMin: the first of equal values, or the last."""

    def run(node: Node, values: Tensor) -> Tensor:
        axis, keep = node.integer("axis", 0), bool(node.integer("keepdims", 1))
        last = bool(node.integer("select_last_index", 0))
        ordered = values.flip(axis) if last else values
        found = ordered.argmax(axis, keepdim=keep) if largest else ordered.argmin(axis, keepdim=keep)
        return values.shape[axis] - 1 - found if last else found

    return Operation(run)


def top_k(node: Node, values: Tensor, count: list[int] | int | None = None) -> tuple[Tensor, Tensor]:
    """TopK -> values and positions."""
    wanted = node.integer("k", 1) if count is None else count
    kept = wanted[0] if isinstance(wanted, list) else wanted
    largest, ordered = bool(node.integer("largest", 1)), bool(node.integer("sorted", 1))
    found = torch.topk(values, kept, dim=node.integer("axis", -1), largest=largest, sorted=ordered)
    return found.values, found.indices


def cumulative_sum(node: Node, values: Tensor, axis: list[int] | int) -> Tensor:
    """CumSum, from either end, with or without the value itself."""
    along = axis[0] if isinstance(axis, list) else axis
    backwards = bool(node.integer("reverse", 0))
    ordered = values.flip(along) if backwards else values
    total = ordered.cumsum(along).to(values.dtype)
    if node.integer("exclusive", 0):
        total = total - ordered
    return total.flip(along) if backwards else total


REDUCTION: Mapping[str, Operation] = {
    "ArgMax": _position(largest=True),
    "ArgMin": _position(largest=False),
    "CumSum": Operation(cumulative_sum, numbers=frozenset({1})),
    "ReduceL1": _reduction(_first_norm),
    "ReduceL2": _reduction(_second_norm),
    "ReduceLogSum": _reduction(_log_sum),
    "ReduceLogSumExp": _reduction(_log_sum_of_exponentials),
    "ReduceMax": _reduction(_largest),
    "ReduceMean": _reduction(_mean),
    "ReduceMin": _reduction(_smallest),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(_sum),
    "ReduceSumSquare": _reduction(_sum_of_squares),
    "TopK": Operation(top_k, numbers=frozenset({1})),
}
