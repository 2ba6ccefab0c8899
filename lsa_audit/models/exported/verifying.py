"""Builds the network of a program and compares it with the program itself at another batch size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ModelError
from ..outputs import columns
from ..parity import PARITY_TOLERANCE, RANDOM_HINT, random_file, relative_difference
from ..static_batch import filled_groups
from .batch import opened
from .dry_run import check_sizes
from .network import ExportedNetwork
from .program import Program, run

SAMPLE_SEED = 0
SAMPLE_BYTES = 256 * 2**20
OPEN_BATCH_HINT = "export it with an open batch: dynamic_shapes=({0: torch.export.Dim.AUTO},)"


@dataclass(frozen=True)
class ProgramComparison:
    """Largest difference from the program's own logits over the largest of these, on how many images, of how many
    logits each."""

    parity: float
    images: int
    outputs: int


def verified_network(
    program: Program,
    tensors: Mapping[str, Tensor],
    own: tuple[Program, Mapping[str, Tensor]],
    tolerance: float,
    limit: int,
) -> tuple[ExportedNetwork, ProgramComparison]:
    """The first form of the network that gives the program's logits on a batch that is no multiple of its own.

    Args:
        program, tensors: in float32.
        own: the same in the types of the file, which is what the network is compared with.
        tolerance: of the largest logit.
        limit: bytes that one value may take.

    Raises:
        ModelError: the program is random, does not return logits [N, K], or no form agrees with it.
        UnsafeError: it makes values above the limit.

    Cost: two forwards on two batches of the program's own size and a bit; for a single batch size up to three more.
    """
    images = _samples(program)
    expected = _own_logits(*own, images, limit)
    parity = float("inf")
    for network in _candidates(program, tensors, images):
        with torch.no_grad():
            parity = relative_difference(network.eval()(images), expected)
        if parity <= tolerance:
            return network, ProgramComparison(parity, len(images), columns(expected, len(images)) or 0)
    again = relative_difference(_own_logits(*own, images, limit), expected)
    if again > PARITY_TOLERANCE:
        raise ModelError(random_file("the program", again), RANDOM_HINT)
    raise ModelError(
        f"the program differs by {parity:.1e} of the largest logit from itself at another batch size",
        OPEN_BATCH_HINT,
    )


def _candidates(program: Program, tensors: Mapping[str, Tensor], images: Tensor) -> Iterator[ExportedNetwork]:
    """The forms of the network, the most telling one first; each is made only when it is asked for."""
    size = program.input.sizes[0]
    if size is not None:
        for constants in (None, 0, 1):
            candidate = opened(program, tensors, images[: 2 * size], constants)
            if candidate is not None:
                yield ExportedNetwork(candidate, tensors, group_size=None)
    yield ExportedNetwork(program, tensors, size)


def _samples(program: Program) -> Tensor:
    """Seeded random images: two batches of the program's own size, and one image more."""
    group, *shape = program.input.example
    count = 2 * group + 1
    if count * math.prod(shape) * torch.float32.itemsize > SAMPLE_BYTES:
        what = f"the program takes {group} images of {'x'.join(map(str, shape))} at a time, more than can be tried"
        raise ModelError(what, OPEN_BATCH_HINT)
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(SAMPLE_SEED))


def _own_logits(program: Program, tensors: Mapping[str, Tensor], images: Tensor, limit: int) -> Tensor:
    """What the program makes of the images in groups of its own size, the last filled up with the last image."""
    group = program.input.example[0]
    images = images.to(getattr(torch, program.input.dtype))
    check_sizes(program, tensors, images[:group], limit)
    with torch.no_grad():
        logits = [run(program, tensors, chosen) for chosen in filled_groups(images, group)]
    shape = tuple(logits[0].shape)
    if columns(logits[0], group) is None:
        raise ModelError(f"the program returns {shape} for {group} images", "a classifier must return logits [N, K]")
    return torch.cat(logits)[: len(images)].float()
