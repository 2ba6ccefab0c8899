"""For programs that take batches of one size only: runs them on any, or finds where their batch size stands."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

NO_RULE = ("vmap", "atching rule")
"""In the messages of torch about operations that it cannot run under vmap."""

TOLERANCE = 1e-4


class FixedBatch(nn.Module):
    """A network that takes exactly `size` images, made to take any number.

    Removing what fixes the batch size would give wrong numbers in silence wherever the size was folded into a constant;
    vmap runs the network as it is.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, images: Tensor) -> Any:
        """images [N, ...] -> what the network returns; see `in_groups`."""
        return in_groups(self.network, images, self.size)


def in_groups(network: Callable[[Tensor], Any], images: Tensor, size: int, *, loops: bool = False) -> Any:
    """What a network that takes `size` images returns for N >= 1 of them, tensors [N, ...]; gradients flow.

    The last group is filled up with the last image, whose further results are cut off. Where the images of a group
    influence each other, so do the filled ones.

    Cost: one forward of all groups together, up to about a third slower than a dynamic batch; one forward a group where
    vmap has no rule for an operation (an LSTM, a write into a constant).
    """
    grouped = filled_groups(images, size)
    try:
        returned = one_by_one(network, grouped) if loops else torch.func.vmap(network, randomness="different")(grouped)
    except RuntimeError as error:
        if not any(word in str(error) for word in NO_RULE):
            raise
        returned = one_by_one(network, grouped)
    return tree_map(lambda value: value.flatten(0, 1)[: images.shape[0]], returned)


def one_by_one(network: Callable[[Tensor], Any], grouped: Tensor) -> Any:
    """What a network returns for each group, stacked: tensors [groups, size, ...]."""
    return tree_map(lambda *values: torch.stack(values), *[network(group) for group in grouped])


def has_rules(network: Callable[[Tensor], Any], images: Tensor, size: int) -> bool:
    """Whether vmap has a rule for every operation of a network; a tracer cannot find that out without harm."""
    try:
        torch.func.vmap(network, randomness="different")(filled_groups(images, size))
    except RuntimeError as error:
        return not any(word in str(error) for word in NO_RULE)
    return True


def filled_groups(images: Tensor, size: int) -> Tensor:
    """The images in groups, [groups, size, ...]; the last group is filled up with the last image."""
    count = images.shape[0]
    groups = (count + size - 1) // size
    if size > 1:
        positions = torch.arange(groups * size, device=images.device).clamp(max=count - 1)
        images = images[positions]
    return images.reshape(groups, size, *images.shape[1:])


def open_sizes(
    single: Tensor, double: Tensor, result: tuple[int, ...], size: int, expands: bool = False
) -> list[int] | None:
    """The sizes to reshape or expand to, with -1 where a program that was made for `size` images has their number.

    Where the images of the first group lie in the operand on two groups tells where they must lie in the result: after
    as many elements, in row-major order.

    Args:
        single, double: the operand in a run on one group of images, and on that and another one.
        result: the sizes of the result on one group.
        expands: whether dimensions are only repeated, and so keep their places from the last.

    Returns:
        None where the groups cannot be told apart. Whether the sizes are right must be seen from the logits.
    """
    place = _place(single, double, size)
    if place is None:
        return None
    dim, outer = place
    before = tuple(single.shape)
    position = len(result) - len(before) + dim if expands else _position(before, result, dim, outer, size)
    return [-1 if index == position else count for index, count in enumerate(result)]


def _place(single: Tensor, double: Tensor, size: int) -> tuple[int, int] | None:
    """The dimension that holds the images, and how often it holds each of them with others between."""
    moved = [dim for dim, (one, two) in enumerate(zip(single.shape, double.shape, strict=True)) if one != two]
    if len(moved) != 1 or double.shape[moved[0]] != 2 * single.shape[moved[0]] or single.shape[moved[0]] % size:
        return None
    dim = moved[0]
    share = single.shape[dim] // size
    tolerance = TOLERANCE * float(single.double().abs().max()) if single.numel() else 0.0
    for outer in dict.fromkeys([1, share, *(count for count in range(2, share) if share % count == 0)]):
        split = double.reshape(*double.shape[:dim], outer, 2, -1, *double.shape[dim + 1 :])
        first = split.select(dim + 1, 0).flatten(dim, dim + 1)
        if torch.allclose(first.double(), single.double(), rtol=0.0, atol=tolerance, equal_nan=True):
            return dim, outer
    return None


def _position(before: tuple[int, ...], after: tuple[int, ...], dim: int, outer: int, size: int) -> int:
    """The dimension of a reshape's result that holds the images."""
    lead = math.prod(before[:dim]) * outer
    rest = before[dim] // (outer * size)
    trailing = (*((rest,) if rest > 1 else ()), *before[dim + 1 :])
    whole = [index for index, count in enumerate(after) if count % size == 0]
    starts = [index for index in whole if math.prod(after[:index]) == lead]
    ends = [index for index in whole if math.prod(after[: index + 1]) == lead * size]
    alone = [index for index in starts if index in ends]
    # For a batch of one its dimension may be missing. It then joins the one before it where what follows is as it was,
    # or is the last dimension, which holds features; else it joins the one after it.
    joins = [index for index in ends if after[index + 1 :] == trailing or index == len(after) - 2]
    return next(iter([*alone, *joins, *starts, *ends]), 0)
