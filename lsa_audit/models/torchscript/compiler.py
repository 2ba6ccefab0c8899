"""From the graphs of a TorchScript file to programs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .control import STEPS
from .objects import hold
from .operations import ExecutionState, function_of
from .program import Block, ProgramConstant, Registers, ScriptProgram, Step
from .roles import constant_names

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass
class Library:
    """All programs of a file.

    Attributes:
        modules: qualified names of the classes that are modules.
        place: where they run.
        programs: methods by the qualified name of their class, functions by that of their file, then by their own.
        attributes: names that are read of each class.
        holder: owner of the tensors of functions and of plain classes.
    """

    modules: frozenset[str]
    place: ExecutionState = field(default_factory=ExecutionState)
    programs: dict[str, dict[str, ScriptProgram]] = field(default_factory=lambda: defaultdict(dict))
    attributes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    holder: nn.Module = field(default_factory=nn.Module)


def compile_all(library: Library, functions: Sequence[Any]) -> None:
    """Fill `programs` and `attributes`.

    Args:
        functions: all that the file holds, methods included.

    Raises:
        ModelError: an operation that cannot be run here.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for function in functions:
        owner, _, name = function.qualified_name.rpartition(".")
        names = constant_names(function.graph, counts[owner if owner in library.modules else ""])
        program = Compiler(library, names).program(function)
        library.programs[owner][name] = program
        if owner not in library.modules:
            hold(library.holder, program)


class Compiler:
    """Makes one program.

    Args:
        names: of the tensors in its graph, by the value's number, and whether they are learnable.
    """

    def __init__(self, library: Library, names: Mapping[int, tuple[str, bool]]) -> None:
        self.library = library
        self.names = names
        self.registers: list[Any] = []
        self.places: dict[int, int] = {}
        self.constants: list[ProgramConstant] = []

    def program(self, function: Any) -> ScriptProgram:
        """The program of a function or method."""
        block = self.block(function.graph)
        defaults = tuple(
            argument.default_value if argument.has_default_value() else None for argument in function.schema.arguments
        )
        return ScriptProgram(block, tuple(self.registers), tuple(self.constants), defaults)

    def register(self, value: torch._C.Value) -> int:
        """The register of a value, a new one for a value that is not known yet."""
        unique = value.unique()
        if unique not in self.places:
            self.places[unique] = len(self.registers)
            self.registers.append(None)
        return self.places[unique]

    def block(self, block: torch._C.Graph | torch._C.Block) -> Block:
        """The steps of a block, and which registers each of them is the last to read."""
        arguments = tuple(self.register(value) for value in block.inputs())
        steps: list[tuple[Step, list[int]]] = []
        last: dict[int, int] = {}
        for node in block.nodes():
            if node.kind() == "prim::Constant":
                self.constant(node)
                continue
            made = self.step(node)
            for value in (*_reads(node), *node.outputs()):
                last[self.register(value)] = len(steps)
            steps.append((made, [self.register(value) for value in node.outputs()]))
        results = tuple(self.register(value) for value in block.outputs())
        own = {*arguments, *(register for _, outputs in steps for register in outputs)} - set(results)
        dead: dict[int, list[int]] = defaultdict(list)
        for register in own & last.keys():
            dead[last[register]].append(register)
        return Block(tuple((step, tuple(dead[index])) for index, (step, _) in enumerate(steps)), arguments, results)

    def constant(self, node: torch._C.Node) -> None:
        """Keep the value of a constant for all runs."""
        value = node.output().toIValue()
        register = self.register(node.output())
        if not isinstance(value, Tensor):
            self.registers[register] = value
        elif value.dim() == 0 and value.dtype in INTEGERS:
            # Tracing writes sizes as 0-dimensional tensors; as numbers they keep a symbolic size symbolic.
            self.registers[register] = value.item()
        else:
            name, learnable = self.names[node.output().unique()]
            self.constants.append(ProgramConstant(register, name, value, learnable))

    def step(self, node: torch._C.Node) -> Step:
        """What a node does."""
        build = STEPS.get(node.kind())
        if build is not None:
            return build(self, node)
        return self.assign(node, function_of(node, self.library.place))

    def assign(self, node: torch._C.Node, function: Callable[..., Any]) -> Step:
        """Call a function on the inputs and keep what it returns."""
        inputs = tuple(self.register(value) for value in node.inputs())
        outputs = tuple(self.register(value) for value in node.outputs())

        def several(registers: Registers) -> None:
            values = function(*[registers[index] for index in inputs])
            for register, value in zip(outputs, values if outputs else (), strict=True):
                registers[register] = value

        if len(outputs) != 1:
            return several
        (output,) = outputs

        def one(registers: Registers) -> None:
            registers[output] = function(*[registers[index] for index in inputs])

        return one


def _reads(node: torch._C.Node) -> Iterator[torch._C.Value]:
    """What a node and the blocks in it read."""
    yield from node.inputs()
    for block in node.blocks():
        yield from block.outputs()
        for inner in block.nodes():
            yield from _reads(inner)
