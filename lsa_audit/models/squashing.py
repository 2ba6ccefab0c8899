"""Functions of one number that keep an order: what is known of them, and what they do to an order all in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]
"""What a call does to each number."""

SQUASHES: dict[str, str] = {
    **dict.fromkeys(("tanh", "tanh_"), "tanh"),
    **dict.fromkeys(("erf", "erf_", "special_erf"), "erf"),
    **dict.fromkeys(("atan", "atan_", "arctan", "arctan_"), "arctangent"),
    "softsign": "softsign",
    **dict.fromkeys(("hardtanh", "hardtanh_"), "hardtanh"),
    **dict.fromkeys(("hardsigmoid", "hardsigmoid_"), "hardsigmoid"),
    **dict.fromkeys(("relu6", "relu6_"), "ReLU6"),
    **dict.fromkeys(("clamp", "clamp_", "clip", "clip_"), "clip"),
}
"""What each call is called; all have bounds (a clip where it has both)."""

HARD = frozenset({"hardtanh", "hardsigmoid", "ReLU6", "clip"})
"""Straight between their bounds and flat beyond them."""

RISES: dict[str, str] = {"exp": "exponential", "softplus": "softplus", "relu": "ReLU"}
"""Without an upper bound: the start of what has bounds in the end, as exp(-softplus(z))."""

STEPS = frozenset(
    {
        *("mul", "mul_", "multiply", "div", "div_", "true_divide", "divide", "add", "add_", "sub", "sub_", "subtract"),
        *("rsub", "__rsub__", "neg", "neg_", "negative", "reciprocal", "__rdiv__", "__rtruediv__", "__mul__"),
        *("__rmul__", "__truediv__", "__add__", "__radd__", "__sub__", "__neg__", "pow", "__pow__", "square", "sqrt"),
        *("exp", "expm1", "log", "log2", "log10", "log1p", "softplus", "relu", "minimum", "maximum"),
        *("clamp_min", "clamp_max"),
    }
)
"""Calls that work on each number by itself, with other numbers that are the same for all images and classes."""

REACH = 1000.0
WIDE = 10.0
"""Values that lie further apart than this, as in 30 tanh(z / 30), are a scale that somebody chose."""
NEAR_BOUND = 0.01
"""Of the distance of the bounds."""
SATURATED = 0.1
"""Share of the values at a bound from which on wide ones are saturated all the same."""
ROUNDING = 1e-12


@dataclass(frozen=True)
class Curve:
    """What some calls in a row make of a number.

    Attributes:
        falls: whether they turn the order round.
        low, high: the bounds of what they make.
        middle: what they make of 0.
        slope: the steepest, where all numbers go in; else 1.
        bounded: whether they reach, or all but reach, both of the bounds; else what they make grows on and on.
    """

    falls: bool
    low: float
    high: float
    middle: float
    slope: float
    bounded: bool

    def squashes(self, values: Tensor) -> bool:
        """Whether attacks should see what is in front of them: such values are close together, or at the bounds."""
        span = self.high - self.low
        near = torch.minimum(values - self.low, self.high - values) <= NEAR_BOUND * span
        return span <= WIDE or float(near.double().mean()) >= SATURATED

    def decides_alone(self) -> bool:
        """Whether one such value an image is decided where the number in front of it is 0."""
        threshold = 0.0 if self.low < 0 else 0.5
        bounded = self.low < 0 or self.high <= 1 + ROUNDING
        return bounded and abs(self.middle - threshold) <= ROUNDING


def run(steps: tuple[Step, ...], values: Tensor) -> Tensor:
    """The steps one after the other, on a copy."""
    values = values.clone()
    for step in steps:
        values = step(values)
    return values


def curve(steps: tuple[Step, ...], lowest: float = -REACH, highest: float = REACH) -> Curve | None:
    """What the steps do between two numbers; None where they keep no order.

    Cost: a run on some thousand numbers.
    """
    grid = _grid(lowest, highest)
    try:
        made = run(steps, grid)
    except (RuntimeError, TypeError, ValueError):
        return None
    if made.shape != grid.shape or made.isnan().any():
        return None
    infinite = bool(made.isinf().any())
    made = made.nan_to_num()
    falls = bool(made[-1] < made[0])
    risen = -made if falls else made
    low, high = float(made.min()), float(made.max())
    slack = ROUNDING * risen[:-1].abs().clamp_min(1.0)
    if low == high or not (risen[1:] >= risen[:-1] - slack).all():
        return None
    # Bounds are reached slowly by an arctangent, and never by what has none.
    inner = made[grid.abs() <= REACH / 10]
    whole = lowest == -REACH
    bounded = not infinite and (not whole or float(inner.max() - inner.min()) >= (1 - 2 * NEAR_BOUND) * (high - low))
    middle = int(grid.abs().argmin())
    slope = float((made.diff() / grid.diff()).abs().max()) if whole else 1.0
    return Curve(falls, low, high, float(made[middle]), slope, bounded)


@cache
def _grid(lowest: float, highest: float) -> Tensor:
    if lowest != -REACH:
        return torch.linspace(lowest, highest, 2001, dtype=torch.float64)
    fine = torch.linspace(-30, 30, 2401, dtype=torch.float64)
    coarse = torch.linspace(30, 1000, 195, dtype=torch.float64)[1:]
    return torch.cat([-coarse.flip(0), fine, coarse])


def step_of(func: Callable[..., Any], args: tuple[Any, ...], place: int, named: dict[str, Any]) -> Step:
    """The call as a function of the operand at one place; the others are held."""
    others = {key: value for key, value in named.items() if key not in ("out", "input", "self", "inplace")}
    before, behind = args[:place], args[place + 1 :]

    def step(values: Tensor) -> Tensor:
        result: Tensor = func(*_held(before, values), values, *_held(behind, values), **others)
        return result

    return step


def _held(operands: tuple[Any, ...], values: Tensor) -> list[Any]:
    return [value.to(values).reshape(()) if isinstance(value, Tensor) else value for value in operands]


def has_bounds(name: str, rest: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Whether this call has both: a clip may have one only, or such as differ from class to class."""
    if SQUASHES.get(name) != "clip":
        return name in SQUASHES
    low, high = (*rest, None, None)[:2]
    bounds = (named.get("min", low), named.get("max", high))
    return all(isinstance(bound, int | float) for bound in bounds)
