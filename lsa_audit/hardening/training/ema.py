"""Averaged weights: what is validated and kept may be smoother than what is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from .base import State


class Ema:
    """A running average of all parameters and float buffers of a module.

    Update: average <- d * average + (1 - d) * value, with d = min(decay, (1 + step) / (10 + step)), so that the start
    is soon forgotten.

    Args:
        module: whose values are averaged, as they are now; it must already be on its device.
        decay: of one step, in 0..1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        named = [*module.named_parameters(), *module.named_buffers()]
        self._values = {name: value.detach() for name, value in named if value.is_floating_point()}
        self._averages = {name: value.clone() for name, value in self._values.items()}
        self._decay = decay

    def update(self, step: int) -> None:
        """Take in the module's present values, after the optimiser's step of that number, from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, average in self._averages.items():
            average.lerp_(self._values[name], 1 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The module holds the averages while the context is open, and afterwards the very bits that it had."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> State:
        """The averages by name, for a checkpoint; not copied."""
        return dict(self._averages)

    def load(self, state: State) -> None:
        """Go on from there.

        Raises:
            KeyError: a name is missing.
        """
        for name, average in self._averages.items():
            average.copy_(state[name])

    def _swap(self) -> None:
        for name, average in self._averages.items():
            value: Tensor = self._values[name]
            held = value.clone()
            value.copy_(average)
            average.copy_(held)
