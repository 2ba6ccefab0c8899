"""How many images an imported network really takes: exporters bake the sample's batch into constants."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ModelError
from .opening import opened
from .operations.base import UnsupportedError, failure
from .steps import Network

Size = int | None
GUESS = 64
"""For a free side of the image."""

LARGEST = 1024
"""Of a batch that is looked for."""

LARGEST_INPUT = 2**26
TRIED = 3
TOLERANCE, ROUNDED_TOLERANCE = 1e-4, 0.1
"""Of the largest logit. A sum in another order may move a quantised value by a whole step: a graph that declares a free
batch is not doubted for that."""


@dataclass(frozen=True)
class BatchSize:
    """How many images a network takes.

    Attributes:
        size: the only number that the graph takes by its own words, or was found to take; None takes any.
        free: whether the network was seen to give each image the same logits in batches of one, two and three.
        notes: what a reader should know.
    """

    size: Size
    free: bool
    notes: tuple[str, ...] = ()


def settle_batch(network: Network, shape: tuple[Size, ...], declared: Size, file: str) -> BatchSize:
    """Run the network on seeded noise and find the batch size that it takes.

    A graph that declares a free batch must give images together the logits that it gives each of them alone. Where it
    does not (a reshape to [1, 512], statistics of the batch), it takes one image at a time; where it does not even take
    one, the size that one of its reshapes names. A graph that declares one size may take others all the same: it does
    where they give the logits of that size.

    Args:
        shape: of one image; None where it is free.
        declared: the batch size that the graph declares; None where it is free.

    Raises:
        ModelError: the output is not [N, K], or the input is too large to be tried.
        UnsupportedError: the network fails; names the node.

    Cost: six forwards on one to three images, and up to three on `declared`.
    """
    sides = [GUESS if size is None else size for size in shape]
    values = math.prod(sides) * max(declared or 0, TRIED)
    if values > LARGEST_INPUT:
        raise ModelError(
            f"{file}: takes {values} values at a time, at most {LARGEST_INPUT} are tried", "export it smaller"
        )
    images = _noise(TRIED, sides)
    try:
        expected = _in_groups(network, images, declared or 1, file)
    except (ModelError, UnsupportedError):
        if declared is not None:
            raise
        if None in shape:
            return BatchSize(None, True, ("its batch was not tried: the size of its images is free",))
        found = next((size for size in _leading_sizes(network) if _takes(network, size, sides, file)), None)
        if found is None:
            raise
        return BatchSize(found, False, (f"the graph declares a free batch, but takes only {found} images at a time",))
    tolerance = ROUNDED_TOLERANCE if declared is None and network.rounding() else TOLERANCE
    bound = tolerance * float(expected.abs().max())
    free = _free(network, images, expected, bound, file)
    if declared is None and free:
        return BatchSize(None, True)
    free = free or _can_be_opened(network, images, expected, bound, declared or 1, file)
    if declared is not None:
        return BatchSize(declared, free)
    note = "the graph declares a free batch, but in one the images get other logits: it takes one image at a time"
    return BatchSize(1, free, (note,))


def _free(network: Network, images: Tensor, expected: Tensor, bound: float, file: str) -> bool:
    """Whether images together get the logits that they get alone."""
    return all(_agrees(network, images[:count], expected[:count], bound, file) for count in range(1, TRIED + 1))


def _can_be_opened(network: Network, images: Tensor, expected: Tensor, bound: float, size: int, file: str) -> bool:
    """Whether the network takes any batch once its reshapes leave the batch open; if so, they do from now on."""
    plan, network.plan = network.plan, opened(network, images.shape[1:], size) or network.plan
    if network.plan is not plan and _free(network, images, expected, bound, file):
        return True
    network.plan = plan
    return False


def _noise(count: int, sides: list[int]) -> Tensor:
    return torch.rand([count, *sides], generator=torch.Generator().manual_seed(0))


def _in_groups(network: Network, images: Tensor, size: int, file: str) -> Tensor:
    """The logits of the images in groups of a size, in which they come again and again."""
    count = len(images)
    groups = torch.arange(-(-count // size) * size).remainder(count).view(-1, size)
    return torch.cat([_run(network, images[group], file) for group in groups])[:count]


def _agrees(network: Network, images: Tensor, expected: Tensor, bound: float, file: str) -> bool:
    try:
        found = _run(network, images, file)
    except (ModelError, UnsupportedError):
        return False
    return bool((found - expected).abs().max() <= bound)


def _takes(network: Network, size: int, sides: list[int], file: str) -> bool:
    try:
        _run(network, _noise(size, sides), file)
    except (ModelError, UnsupportedError):
        return False
    return True


def _run(network: Network, images: Tensor, file: str) -> Tensor:
    try:
        with torch.no_grad():
            logits = network(images)
    except Exception as error:
        raise failure(getattr(error, "__notes__", ["the graph"])[0], error) from error
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(images) or not logits.numel():
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"{file}: returns {found} for {len(images)} images", "a classifier must return logits [N, K]")
    return logits


def _leading_sizes(network: Network) -> list[int]:
    """First sizes of the constant shapes in the graph, smallest first."""
    lists = [operand for call in network.plan for operand in call.operands if isinstance(operand, list) and operand]
    return sorted({first for first, *_ in lists if isinstance(first, int) and 1 < first <= LARGEST})
