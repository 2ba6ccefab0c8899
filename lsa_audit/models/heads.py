"""How what a network returns becomes logits [N, K], whatever it ends in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .outputs import pick
from .peeling import Watch

Transform = Literal["none", "logarithm", "log-odds"]

HALVES = frozenset({torch.float16, torch.bfloat16})
SMALLEST = 1e-30
NEAREST_ONE = 2.0**-25
"""Half of what float32 tells apart below 1."""
LIFT = 2.0**-20
"""Eight times what float32 tells apart."""


class Blend(NamedTuple):
    """What stands in for the outputs of an activation: so much of the values in front of it, and of themselves."""

    values: float = 1.0
    outputs: float = 0.0

    def of(self, values: Tensor, outputs: Tensor) -> Tensor:
        """The sum."""
        scaled = values if self.values == 1 else values * self.values
        return scaled + outputs * self.outputs if self.outputs else scaled


IN_FRONT = Blend()


@dataclass(frozen=True)
class Head:
    """How what a network returns becomes logits.

    Attributes:
        output: name of the output that is taken; empty for the only one.
        columns: K of that output; None before the first run.
        peels: how many activations in front of the output are left out; those before them are the logits.
        blends: for each of them, what stands in for what it makes; empty: the values in front of it.
        ties: the outputs decide, as activations that saturate give several classes one value.
        fallback: what stands in for that in a run that does not end in them (a network with branches).
        transform: of values that no activation in sight has made.
        halved: the output holds p and 1 - p of one sigmoid.
        masked: some logits are -inf, which takes their classes out.
        single: one score an image, that of class 1.
    """

    output: str = ""
    columns: int | None = None
    peels: int = 0
    blends: tuple[Blend, ...] = ()
    ties: bool = False
    fallback: Transform = "none"
    transform: Transform = "none"
    halved: bool = False
    masked: bool = False
    single: bool = False

    def run(self, network: Callable[[Tensor], Any], prepared: Tensor) -> Tensor:
        """What the network takes -> logits [N, K]. Before the first run a single tensor comes out as it is."""
        if not self.peels:
            return self.complete(self.picked(network(prepared)))
        watch = Watch()
        with watch:
            outputs = self.picked(network(prepared))
        value = outputs
        for place in range(self.peels):
            entry = watch.found(value)
            if entry is None:
                return self._finished(value, self.fallback)
            value = (self.blends[place] if self.blends else IN_FRONT).of(entry.logits, value)
        logits = self._finished(value, self.transform)
        if not self.ties or self.single:
            return logits
        return as_decided(logits, outputs.reshape(logits.shape))

    def complete(self, value: Tensor) -> Tensor:
        """The output that is taken -> logits [N, K], with nothing in front of it known."""
        return self._finished(value, self.transform)

    def picked(self, returned: Any) -> Tensor:
        """The output that is taken.

        Raises:
            TypeError: it is not there.
        """
        value = pick(returned, self.output, self.columns)
        if value is None:
            raise TypeError(
                f"returned a {type(returned).__name__} without the output {self.output or 'of the first run'}"
            )
        return value

    def _finished(self, value: Tensor, transform: Transform) -> Tensor:
        if value.dim() != 2 and self.columns is not None:
            value = value.reshape(-1, self.columns)
        if value.dtype in HALVES:
            value = value.float()
        if transform != "none":
            value = TRANSFORMS[transform](value)
        if self.halved:
            value = value / 2
        if self.masked:
            value = without_infinities(value)
        # With [0, z] the gradient of the cross-entropy would be 1 - p, which is 0 in float32 from z = 17 on.
        return torch.cat([-value / 2, value / 2], dim=1) if self.single else value


def logarithm(values: Tensor, smallest: float = SMALLEST) -> Tensor:
    """The logarithm, straight on below `smallest`: finite, rising everywhere, and with a slope everywhere."""
    below = values < smallest
    straight = math.log(smallest) - 1 + values / smallest
    return torch.where(below, straight, values.masked_fill(below, 1.0).log())


def log_odds(values: Tensor) -> Tensor:
    """log(p / (1 - p)), straight on where p has been rounded to 0 or 1: finite, and rising everywhere."""
    return logarithm(values) - logarithm(1 - values, NEAREST_ONE)


def as_decided(logits: Tensor, outputs: Tensor) -> Tensor:
    """Logits [N, K] that decide as the outputs do: of several classes with the same largest value the first one wins.

    It is lifted just above the others; gradients are those of the logits.
    """
    values = logits.detach()
    winner = outputs.detach().argmax(1, keepdim=True)
    best, own = values.amax(1, keepdim=True), values.gather(1, winner)
    lift = torch.where(own < best, best - own + best.abs().clamp_min(1.0) * LIFT, 0.0)
    return logits + torch.zeros_like(values).scatter(1, winner, lift)


TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {"logarithm": logarithm, "log-odds": log_odds}


def without_infinities(logits: Tensor) -> Tensor:
    """Logits [N, K] with -inf replaced by so little that neither a decision nor a cross-entropy in float32 changes."""
    infinite = torch.isneginf(logits)
    lowest = logits.masked_fill(infinite, torch.inf).amin(1, keepdim=True).detach()
    gap = -math.log(NEAREST_ONE) + math.log(logits.shape[1])
    return torch.where(infinite, lowest - gap, logits)
