"""What picks values out, or puts them in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .base import Node, Operation

REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def slice_(
    node: Node,
    values: Tensor,
    starts: list[int] | None = None,
    ends: list[int] | None = None,
    axes: list[int] | None = None,
    steps: list[int] | None = None,
) -> Tensor:
    """Slice, with attributes (opset 9) or operands; a negative step reads backwards."""
    first = starts if starts is not None else node.integers("starts") or []
    last = ends if ends is not None else node.integers("ends") or []
    along = axes if axes is not None else node.integers("axes") or list(range(len(first)))
    strides = steps if steps is not None else [1] * len(first)
    for start, end, axis, step in zip(first, last, along, strides, strict=True):
        index: list[slice] = [slice(None)] * (axis % values.dim())
        if step > 0:
            values = values[(*index, slice(start, end, step))]
            continue
        places = range(*slice(start, end, step).indices(values.shape[axis]))
        forward = slice(places[-1], places[0] + 1, -step) if places else slice(0, 0)
        values = values[(*index, forward)].flip(axis)
    return values


def gather(node: Node, values: Tensor, indices: Tensor | int) -> Tensor:
    """Gather whole slices along one axis."""
    axis = node.integer("axis", 0) % values.dim()
    if not isinstance(indices, Tensor):
        return values.select(axis, indices)
    if indices.dim() == 0:
        return values.index_select(axis, indices.long().reshape(1) % values.shape[axis]).squeeze(axis)
    index: list[slice | Tensor] = [slice(None)] * axis
    return values[(*index, indices.long())]


def gather_elements(node: Node, values: Tensor, indices: Tensor) -> Tensor:
    """GatherElements."""
    axis = node.integer("axis", 0)
    return values.gather(axis, _from_the_front(indices, values.shape[axis]))


def gather_nd(node: Node, values: Tensor, indices: Tensor) -> Tensor:
    """GatherND: the last dimension of the indices holds coordinates, behind `batch_dims` shared ones."""
    shared = node.integer("batch_dims", 0)
    coordinates = indices.long().unbind(-1)
    grids: list[Tensor] = []
    for dim in range(shared):
        shape = [1] * (indices.dim() - 1)
        shape[dim] = indices.shape[dim]
        grids.append(torch.arange(indices.shape[dim], device=values.device).reshape(shape))
    return values[(*grids, *coordinates)]


def scatter_elements(node: Node, values: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """ScatterElements, and Scatter of opset 9."""
    axis, reduction = node.integer("axis", 0), node.text("reduction", "none")
    places = _from_the_front(indices, values.shape[axis])
    if reduction == "none":
        return values.scatter(axis, places, updates)
    return values.scatter_reduce(axis, places, updates, REDUCTIONS[reduction])


def scatter_nd(node: Node, values: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """ScatterND, overwriting or adding."""
    coordinates = tuple(indices.long().unbind(-1))
    return values.index_put(coordinates, updates, accumulate=node.text("reduction", "none") == "add")


def _from_the_front(indices: Tensor, size: int) -> Tensor:
    return torch.where(indices < 0, indices + size, indices).long()


def one_hot(node: Node, indices: Tensor, depth: list[int] | int, values: Tensor) -> Tensor:
    """OneHot: `values` holds what stands for off and for on."""
    size = depth[0] if isinstance(depth, list) else depth
    axis = node.integer("axis", -1)
    axis = axis if axis >= 0 else axis + indices.dim() + 1
    shape = [1] * (indices.dim() + 1)
    shape[axis] = size
    classes = torch.arange(size, device=indices.device).reshape(shape)
    # only -size .. size - 1 are indices; all others are off everywhere
    hit = _from_the_front(indices, size).unsqueeze(axis) == classes
    return torch.where(hit, values[1], values[0])


def triangle(node: Node, values: Tensor, diagonal: list[int] | int | None = None) -> Tensor:
    """Trilu: the upper or the lower triangle."""
    given = diagonal[0] if isinstance(diagonal, list) else diagonal
    shift = 0 if given is None else given
    return torch.triu(values, shift) if node.integer("upper", 1) else torch.tril(values, shift)


def _reduces_otherwise(node: Node) -> str:
    reduction = node.text("reduction", "none")
    return "" if reduction in {"none", "add"} else f"reduction {reduction}"


INDEXING: Mapping[str, Operation] = {
    "Gather": Operation(gather),
    "GatherElements": Operation(gather_elements),
    "GatherND": Operation(gather_nd),
    "OneHot": Operation(one_hot, numbers=frozenset({1})),
    "Scatter": Operation(scatter_elements),
    "ScatterElements": Operation(scatter_elements),
    "ScatterND": Operation(scatter_nd, refuses=_reduces_otherwise),
    "Slice": Operation(slice_, numbers=frozenset({1, 2, 3, 4})),
    "Trilu": Operation(triangle, numbers=frozenset({1})),
}
