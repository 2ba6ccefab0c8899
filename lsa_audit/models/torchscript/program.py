"""A TorchScript method or function as steps on registers.

What runs is ordinary Python on ordinary tensors, so hooks, gradients, `torch.export` and other devices work on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from torch import Tensor, nn

Registers = list[Any]
Step = Callable[[Registers], None]


@dataclass(frozen=True)
class ProgramConstant:
    """A tensor that a graph holds.

    Attributes:
        register: where the graph reads it.
        name: under which the owner of the program holds it, e.g. `conv2d_1.weight`.
        learnable: whether it is a weight or a bias of a known operation, not a statistic, a mask or a table.
    """

    register: int
    name: str
    tensor: Tensor
    learnable: bool


@dataclass(frozen=True)
class Block:
    """Steps in their order, each with the registers that nobody reads after it."""

    steps: tuple[tuple[Step, tuple[int, ...]], ...]
    arguments: tuple[int, ...]
    results: tuple[int, ...]

    def run(self, registers: Registers) -> None:
        """Run the steps; the results lie in their registers afterwards."""
        for step, dead in self.steps:
            step(registers)
            for register in dead:
                registers[register] = None


@dataclass(frozen=True)
class ScriptProgram:
    """A method or function, prepared once.

    Attributes:
        registers: what they hold before a run.
        constants: read at each run from the owner, whose tensors move between devices and are trained.
        defaults: of the arguments, in their order; those without one hold None.
    """

    block: Block
    registers: tuple[Any, ...]
    constants: tuple[ProgramConstant, ...]
    defaults: tuple[Any, ...]

    def run(self, owner: nn.Module, *arguments: Any) -> Any:
        """What the method or function returns; the first argument of a method is its object."""
        registers = list(self.registers)
        given = (*arguments, *self.defaults[len(arguments) :])
        for register, value in zip(self.block.arguments, given, strict=True):
            registers[register] = value
        for constant in self.constants:
            registers[constant.register] = reduce(getattr, constant.name.split("."), owner)
        self.block.run(registers)
        return registers[self.block.results[0]]
