"""A forward that changes its own module: every one starts from the same state, so that logits belong to the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .attributes import copied, equal, restored

OTHER = 0.5
"""Of the brightness of the images: a state that follows them is then another one."""

SHOWN = 3
MISSING = object()


class Pin(NamedTuple):
    """One attribute or buffer: path of the module, whether a buffer, and its name."""

    path: str
    buffer: bool
    name: str

    def __str__(self) -> str:
        return f"{self.path}.{self.name}" if self.path else self.name


def changing(network: nn.Module, forward: Any, images: Tensor) -> tuple[Pin, ...]:
    """What differs in the network after one forward and after another: counters, running figures, what is kept of them.

    What the first forward alone fills in, such as a cache of what follows from the weights, does not count.

    Args:
        forward: of images [N, ...]; runs the network.

    Cost: two forwards and two copies of buffers and attributes; the network comes out as it went in, but for the values
    of its buffers.
    """
    with restored(network), torch.no_grad():
        forward(images)
        first = _state(network)
        forward(images * OTHER)
        second = _state(network)
    return tuple(pin for pin, value in second.items() if pin not in first or not equal(first[pin], value))


@contextmanager
def pinned(network: nn.Module, pins: Sequence[Pin]) -> Iterator[None]:
    """Inside, a forward may change these attributes; outside, they are what they were."""
    places = [_place(network, pin) for pin in pins]
    before = [place.get(pin.name, MISSING) for pin, place in zip(pins, places, strict=True)]
    try:
        for pin, place, value in zip(pins, places, before, strict=True):
            if value is not MISSING:
                place[pin.name] = copied(value)
        yield
    finally:
        for pin, place, value in zip(pins, places, before, strict=True):
            if value is MISSING:
                place.pop(pin.name, None)
            else:
                place[pin.name] = value


def told(pins: Sequence[Pin]) -> str:
    """For the record."""
    more = f" and {len(pins) - SHOWN} more" if len(pins) > SHOWN else ""
    return (
        f"each forward pass changes the model's own state ({', '.join(map(str, pins[:SHOWN]))}{more}); in this audit "
        "every forward pass starts from the state as loaded"
    )


def _place(network: nn.Module, pin: Pin) -> dict[str, Any]:
    module = network.get_submodule(pin.path)
    return module._buffers if pin.buffer else vars(module)


def _state(network: nn.Module) -> dict[Pin, Any]:
    found: dict[Pin, Any] = {}
    standard = vars(nn.Module()).keys()
    for path, module in network.named_modules():
        found.update({Pin(path, True, name): copied(value) for name, value in module._buffers.items()})
        own = {name: value for name, value in vars(module).items() if name not in standard}
        found.update({Pin(path, False, name): copied(value) for name, value in own.items()})
    return found
