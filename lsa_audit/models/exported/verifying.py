"""Builds the network of a program and compares it with the program itself at another batch size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ModelError
from ..base import PARITY_TOLERANCE
from .batch import opened
from .dry_run import check_sizes
from .network import ExportedNetwork
from .program import Program, run

SAMPLE_SEED = 0


@dataclass(frozen=True)
class Comparison:
    """Largest difference from the program's own logits over the largest of these, on how many images, of how many
    logits each."""

    parity: float
    images: int
    outputs: int


def verified_network(program: Program, tensors: Mapping[str, Tensor], limit: int) -> tuple[ExportedNetwork, Comparison]:
    """The first form of the network that gives the program's logits on a batch that is no multiple of its own.

    Args:
        limit: bytes that one value may take.

    Raises:
        ModelError: the program does not return logits [N, K], or no form agrees with it.
        UnsafeError: it makes values above the limit.

    Cost: two forwards on two batches of the program's own size and a bit; for a single batch size up to three more.
    """
    size, group = program.input.sizes[0], program.input.example[0]
    generator = torch.Generator().manual_seed(SAMPLE_SEED)
    images = torch.randn(2 * group + 1, *program.input.example[1:], generator=generator)
    expected = _own_logits(program, tensors, images, limit)
    programs: list[tuple[Program | None, int | None]] = [(program, size)]
    if size is not None:
        pair = images[: 2 * size]
        programs = [(opened(program, tensors, pair, constants), None) for constants in (False, True)] + programs
    parity = float("inf")
    for candidate, group_size in programs:
        if candidate is not None:
            network = ExportedNetwork(candidate, tensors, group_size).eval()
            parity = _difference(network, images, expected)
            if parity <= PARITY_TOLERANCE:
                return network, Comparison(parity, len(images), expected.shape[1])
    raise ModelError(
        f"the program differs by {parity:.1e} of the largest logit from itself at another batch size",
        "export it with an open batch: dynamic_shapes=({0: torch.export.Dim.AUTO},)",
    )


def _own_logits(program: Program, tensors: Mapping[str, Tensor], images: Tensor, limit: int) -> Tensor:
    """What the program makes of the images in groups of its own size, the last filled up with the last image."""
    count, group = len(images), program.input.example[0]
    positions = torch.arange(-(-count // group) * group).clamp(max=count - 1)
    groups = [images[chosen] for chosen in torch.split(positions, group)]
    check_sizes(program, tensors, groups[0], limit)
    with torch.no_grad():
        logits = [run(program, tensors, images) for images in groups]
    shape = tuple(logits[0].shape)
    if len(shape) != 2 or shape[0] != group:
        raise ModelError(f"the program returns {shape} for {group} images", "a classifier must return logits [N, K]")
    return torch.cat(logits)[:count]


def _difference(network: ExportedNetwork, images: Tensor, expected: Tensor) -> float:
    with torch.no_grad():
        found = network(images)
    if found.shape != expected.shape:
        return float("inf")
    largest = float(expected.abs().max())
    return float((found - expected).abs().max()) / (largest or 1.0)
