"""What a converter of an ONNX operation receives and gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Number = int | float | bool
Value = Tensor | Number | list[Any] | None
"""A value of the graph. Shapes and what is computed from them are Python numbers and (nested) lists of them, so that
they stay exact, on the CPU, and free in the batch when the network is exported."""

DTYPES: Mapping[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.int64,
    5: torch.int64,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float32,
    11: torch.float64,
    12: torch.int64,
    13: torch.int64,
    16: torch.float32,
    21: torch.uint8,
    22: torch.int8,
}
"""By the number of the type in an ONNX file; half precision runs in float32, and integers that torch has no arithmetic
for in the next larger type."""


class UnsupportedError(Exception):
    """A graph with operations that have no converter.

    Attributes:
        operations: each with its domain, and with the reason where only one use of it has no converter.
    """

    def __init__(self, operations: tuple[str, ...]) -> None:
        super().__init__(", ".join(operations))
        self.operations = operations


def failure(where: str, error: Exception) -> UnsupportedError:
    """What to raise where a node could not be run."""
    lines = str(error).strip().splitlines()
    return UnsupportedError((f"{where}: {' '.join(lines[0].split()) if lines else type(error).__name__}",))


@dataclass(frozen=True)
class Node:
    """One node of a graph, without its operands.

    Attributes:
        name: of the layer, for people.
        op_type: of the standard domain.
        opset: version of the standard domain that the file is written in.
        attributes: as Python values and tensors.
        constants: types of the operands that are constants, by position.
        used: for each output, whether anything reads it.
    """

    name: str
    op_type: str
    opset: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[int, torch.dtype] = field(default_factory=dict)
    used: tuple[bool, ...] = (True,)

    def integer(self, key: str, default: int) -> int:
        """An integer attribute."""
        return int(self.attributes.get(key, default))

    def number(self, key: str, default: float) -> float:
        """A float attribute."""
        return float(self.attributes.get(key, default))

    def text(self, key: str, default: str) -> str:
        """A string attribute."""
        return str(self.attributes.get(key, default))

    def integers(self, key: str) -> list[int] | None:
        """A list of integers, or None where the node has no such attribute."""
        return [int(entry) for entry in self.attributes[key]] if key in self.attributes else None

    def dtype(self, key: str, default: torch.dtype = torch.float32) -> torch.dtype:
        """A type attribute."""
        return DTYPES[self.attributes[key]] if key in self.attributes else default


@dataclass(frozen=True)
class Operation:
    """How one kind of node is run.

    Attributes:
        run: (node, *operands) -> the output, or a tuple of outputs. Operands that the file leaves out are None.
        numbers: positions of operands that must be Python numbers (axes, shapes, sizes).
        makes: whether `run` takes the device of the images as `device`, because it makes a tensor from numbers.
        refuses: why a node of this kind has no converter, or an empty string.
    """

    run: Callable[..., Any]
    numbers: frozenset[int] = frozenset()
    makes: bool = False
    refuses: Callable[[Node], str] = lambda _: ""


def tensor_like(value: Tensor | Number, other: Tensor) -> Tensor:
    """A number as a tensor of the type and on the device of `other`."""
    return value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=other.dtype, device=other.device)


def axes_of(node: Node, given: list[int] | int | None) -> list[int] | None:
    """Axes from an operand (current opsets) or from the attribute (earlier ones); None where there are none."""
    if given is None:
        return node.integers("axes")
    return given if isinstance(given, list) else [given]


def flat_bias(bias: Tensor | None, neurons: int) -> Tensor | None:
    """A bias as [neurons]: itself where it is, so that it stays the layer's own tensor."""
    if bias is None or tuple(bias.shape) == (neurons,):
        return bias
    return bias.reshape(-1).expand(neurons)
