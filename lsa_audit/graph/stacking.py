"""Several copies of a batch in one: copy after copy of the same images, each with another neuron dropped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .base import Layer, Layout, split_batch
from .batch_layout import find_layout

STACK_BYTES = 2**24
"""Of values held at once behind a layer: on a CPU, more copies run no faster than these, and too many run slower."""

STACK_BYTES_CUDA = 2**31


@dataclass(frozen=True)
class PerImage:
    """A number that grows with the batch, e.g. images times windows."""

    share: int


Crossing = Layout | PerImage | None
"""How a value grows with the batch: it has a part for each image; it counts images; it is the same for any batch."""


class Unstackable(Exception):  # noqa: N818 - says what a batch is
    """It is not known how a value grows with the batch."""


def find_crossing(pair: Any, triple: Any, dependent: bool) -> Crossing:
    """How a value grows with the batch, from its values on images [a, b] and on [c, b, a].

    Args:
        dependent: whether it depends on the images, not only on how many there are.

    Raises:
        Unstackable: neither the values nor their sizes show it.
    """
    if isinstance(pair, Tensor) and isinstance(triple, Tensor):
        if pair.shape == triple.shape and not dependent:
            return None
        layout = find_layout(pair, triple)
        if layout is not None:
            return layout
    elif isinstance(pair, int | float) and pair == triple:
        return None
    elif isinstance(pair, int) and 3 * pair == 2 * triple:
        return PerImage(pair // 2)
    raise Unstackable


def chosen(value: Tensor, layout: Layout, count: int, rows: Tensor) -> Tensor:
    """The value of `count` images for some of them, in new memory; rows [m] are their positions, also repeated ones."""
    parts = split_batch(value, layout, count).index_select(layout.batch_dim + 1, rows)
    dim = layout.batch_dim
    return parts.reshape(*value.shape[:dim], -1, *value.shape[dim + 1 :])


def set_neurons(layer: Layer, value: Tensor, neurons: Tensor, fill: Tensor) -> None:
    """In place: neuron number t of the list takes the value fill[t] in part t of the batch; no neurons, no change.

    Args:
        value: of the layer on len(neurons) equal parts, each of one image or more.
        neurons: [T]; fill: [T].

    Raises:
        IndexError: the layer has fewer neurons.
    """
    if not len(neurons):
        return
    batch_dim, neuron_dim = layer.batch_dim, layer.info.neuron_dim
    assert neuron_dim is not None  # noqa: S101 - held by who made the copies
    parts = split_batch(value, Layout(batch_dim, layer.batch_outer), len(neurons))
    own = parts.movedim((batch_dim + 1, neuron_dim if neuron_dim < batch_dim else neuron_dim + 2), (0, 1))
    each = torch.arange(len(neurons), device=value.device)
    own[each, neurons] = fill.to(value).reshape(-1, *[1] * (own.dim() - 2))


def stack_size(rows: int, image_bytes: int, limit_bytes: int) -> int:
    """How many of the rows to run at once: as many as memory allows, about as many each time, at least one.

    Args:
        image_bytes: that running one image takes.
    """
    most = max(1, min(rows, limit_bytes // max(1, image_bytes)))
    return math.ceil(rows / math.ceil(rows / most))


def stack_bytes(device: torch.device) -> int:
    """What the values of one batch of copies may take: on CUDA no more than half of the free memory."""
    if device.type != "cuda":
        return STACK_BYTES
    return min(STACK_BYTES_CUDA, torch.cuda.mem_get_info(device)[0] // 2)
