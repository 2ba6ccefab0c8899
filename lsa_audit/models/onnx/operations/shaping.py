"""What moves values without changing them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .base import Node, Operation, axes_of


def reshape(node: Node, values: Tensor, shape: list[int] | int | None = None) -> Tensor:
    """Reshape; 0 keeps the dimension at its place unless `allowzero`, -1 takes what is left."""
    target = node.integers("shape") or [] if shape is None else shape if isinstance(shape, list) else [shape]
    if node.integer("allowzero", 0):
        return values.reshape(target)
    kept = [values.shape[place] if isinstance(size, int) and size == 0 else size for place, size in enumerate(target)]
    return values.reshape(kept)


def flatten(node: Node, values: Tensor) -> Tensor:
    """Flatten to a matrix, split at `axis`."""
    axis = node.integer("axis", 1)
    axis = axis + values.dim() if axis < 0 else axis
    if axis == 1 and values.dim() > 1:
        return values.flatten(1)
    return values.reshape(math.prod(values.shape[:axis]), math.prod(values.shape[axis:]))


def transpose(node: Node, values: Tensor) -> Tensor:
    """Transpose; without an order, the reversed one."""
    return values.permute(node.integers("perm") or list(range(values.dim()))[::-1])


def squeeze(node: Node, values: Tensor, axes: list[int] | int | None = None) -> Tensor:
    """Squeeze the axes given, else all of size 1."""
    chosen = axes_of(node, axes)
    return values.squeeze() if chosen is None else values.squeeze(chosen)


def unsqueeze(node: Node, values: Tensor, axes: list[int] | int | None = None) -> Tensor:
    """Unsqueeze; the axes count in the result."""
    chosen = axes_of(node, axes) or []
    rank = values.dim() + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        values = values.unsqueeze(axis)
    return values


def concat(node: Node, *parts: Tensor) -> Tensor:
    """Concat."""
    return torch.cat(parts, node.integer("axis", 1))


def split(node: Node, values: Tensor, sizes: list[int] | None = None) -> tuple[Tensor, ...]:
    """Split into parts of the given sizes, or into as many equal ones as there are outputs (the last may be less)."""
    axis = node.integer("axis", 0)
    wanted = node.integers("split") if sizes is None else sizes
    if wanted is not None:
        return torch.split(values, wanted, axis)
    return torch.split(values, -(-values.shape[axis] // len(node.used)), axis)


def expand(_: Node, values: Tensor, shape: list[int] | int) -> Tensor:
    """Expand; a 1 in the shape keeps the dimension as it is."""
    target = shape if isinstance(shape, list) else [shape]
    rank = max(len(target), values.dim())
    sizes = [1] * (rank - values.dim()) + list(values.shape)
    wanted = [1] * (rank - len(target)) + target
    return values.expand([size if want == 1 else want for size, want in zip(sizes, wanted, strict=True)])


def tile(_: Node, values: Tensor, repeats: list[int]) -> Tensor:
    """Tile."""
    return values.repeat(repeats)


def depth_to_space(node: Node, values: Tensor) -> Tensor:
    """DepthToSpace: [N, C b b, H, W] -> [N, C, H b, W b], the block first (DCR) or the channels first (CRD)."""
    block = node.integer("blocksize", 1)
    images, channels, height, width = values.shape
    depth = channels // block**2
    if node.text("mode", "DCR") == "DCR":
        parts = values.reshape(images, block, block, depth, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = values.reshape(images, depth, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(images, depth, height * block, width * block)


def space_to_depth(node: Node, values: Tensor) -> Tensor:
    """SpaceToDepth: [N, C, H, W] -> [N, C b b, H / b, W / b]."""
    block = node.integer("blocksize", 1)
    images, channels, height, width = values.shape
    parts = values.reshape(images, channels, height // block, block, width // block, block)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(images, channels * block**2, height // block, width // block)


def identity(_: Node, values: Tensor) -> Tensor:
    """Identity."""
    return values


def dropout(node: Node, values: Tensor, *_: object) -> Tensor | tuple[Tensor, Tensor]:
    """Dropout of a model that does not train: nothing is dropped."""
    return values if len(node.used) == 1 else (values, torch.ones_like(values).bool())


SHAPING: Mapping[str, Operation] = {
    "Concat": Operation(concat),
    "DepthToSpace": Operation(depth_to_space),
    "Dropout": Operation(dropout),
    "Expand": Operation(expand, numbers=frozenset({1})),
    "Flatten": Operation(flatten),
    "Identity": Operation(identity),
    "Reshape": Operation(reshape, numbers=frozenset({1})),
    "SpaceToDepth": Operation(space_to_depth),
    "Split": Operation(split, numbers=frozenset({1})),
    "Squeeze": Operation(squeeze, numbers=frozenset({1})),
    "Tile": Operation(tile, numbers=frozenset({1})),
    "Transpose": Operation(transpose),
    "Unsqueeze": Operation(unsqueeze, numbers=frozenset({1})),
}
