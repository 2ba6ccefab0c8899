"""What two runs on real images say about the batch: where the images lie in a value, and whether they mix."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .base import Layout, split_batch

TOLERANCE = 1e-4
"""Of the largest absolute value: rounding differs between batch sizes; wrong layouts and mixed images by more."""


IN_TRIPLE = [2, 1]
"""Positions of a and b in the triple of `pair_and_triple`."""


def probe_images(images: Tensor) -> Tensor:
    """The first three images, made different from each other where the data repeats itself: [3, ...] in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    chosen = [images[0]]
    for image in images[1:3]:
        if any(torch.equal(image, other) for other in chosen):
            noise = torch.rand(image.shape, generator=generator).to(image)
            image = (image + noise) / 2
        chosen.append(image)
    return torch.stack(chosen)


def pair_and_triple(images: Tensor) -> tuple[Tensor, Tensor]:
    """[a, b] and [c, b, a] out of [a, b, c]: no image keeps its distance to both ends, nor to the other.

    Where each of a and b is in the second: `IN_TRIPLE`.
    """
    return images[[0, 1]], images[[2, 1, 0]]


def find_layout(pair: Tensor, triple: Tensor) -> Layout | None:
    """Where the images lie in a value, from its values on [a, b] and on [c, b, a]; None if a's or b's part differs.

    Cost: a few comparisons of the value; more only where a dimension holds the batch times something.
    """
    for dim, outer in _candidates(tuple(pair.shape), tuple(triple.shape)):
        small = split_batch(pair, Layout(dim, outer), 2).movedim(dim + 1, 0)
        large = split_batch(triple, Layout(dim, outer), 3).movedim(dim + 1, 0)
        if same(small, large[IN_TRIPLE]):
            return Layout(dim, outer)
    return None


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal up to rounding; infinities and NaN must be at the same places."""
    finite = other[torch.isfinite(other)]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(one, other, rtol=0.0, atol=TOLERANCE * scale, equal_nan=True)


def per_image_shape(pair: tuple[int, ...], triple: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that one image has in a value whose shapes on two and on three images are given; None if unclear."""
    if len(pair) != len(triple):
        return None
    moved = [dim for dim, (two, three) in enumerate(zip(pair, triple, strict=True)) if two != three]
    if len(moved) != 1 or pair[moved[0]] * 3 != triple[moved[0]] * 2:
        return None
    share = triple[moved[0]] // 3
    middle = (share,) if share > 1 else ()
    return triple[: moved[0]] + middle + triple[moved[0] + 1 :]


def _candidates(pair: tuple[int, ...], triple: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Dimensions that could hold the batch, with each way to split them: contiguous first, alternating next."""
    if per_image_shape(pair, triple) is None:
        return
    dim = next(dim for dim, size in enumerate(pair) if size != triple[dim])
    share = pair[dim] // 2
    divisors = [outer for outer in range(1, share + 1) if share % outer == 0]
    for outer in dict.fromkeys([1, share, *divisors]):
        yield dim, outer
