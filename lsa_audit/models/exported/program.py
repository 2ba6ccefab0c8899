"""A program of torch.export as plain data: its operations in order, and what goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..outputs import ONLY, Choice, OutputCandidate

Values = dict[str, Any]
"""Tensors and numbers by the names that the file gives them."""

Output = str | list[str] | None
"""Name of one result, names of the entries of a result that is a list, or nothing to keep."""

IMAGES, DEVICE = "batch size", "device of the images"
"""Names among the values that no file can use: they hold spaces."""


@dataclass(frozen=True)
class Ref:
    """An argument that is the value of this name."""

    name: str


@dataclass(frozen=True)
class Times:
    """An argument that is a multiple of the batch size."""

    factor: int


@dataclass(frozen=True)
class Device:
    """An argument that is the device of the images, whatever the file was exported on."""


@dataclass(frozen=True)
class ProgramCall:
    """One call of a module of the original network: `key` unique to the call, `kind` the name of its class."""

    key: str
    path: str
    kind: str


@dataclass(frozen=True)
class ProgramOperation:
    """One operation.

    Attributes:
        target: as the file names it.
        arguments, named: may hold Ref, Times and Device, also inside lists.
        outputs: where the results go.
        calls: the module calls around it, outermost first.
        last: names of values that nothing reads later.
    """

    target: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    outputs: tuple[Output, ...]
    calls: tuple[ProgramCall, ...]
    last: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`conv2d` for torch.ops.aten.conv2d.default."""
        parts = self.target.split(".")
        return parts[-2] if self.target.startswith("torch.ops.") else parts[-1]

    def with_named(self, changes: Mapping[str, Any]) -> ProgramOperation:
        """The same operation with other values for some named arguments."""
        return replace(self, named={**self.named, **changes})

    def reads(self) -> set[str]:
        """Names of the values that it takes."""
        found: set[str] = set()
        _collect([*self.arguments, *self.named.values()], found)
        return found

    def run(self, values: Values) -> None:
        """Compute the results into `values`, and drop what nothing reads later."""
        result = self.function(*_resolved(self.arguments, values), **_resolved(self.named, values))
        results = result if len(self.outputs) > 1 else (result,)
        for output, value in zip(self.outputs, results, strict=False):
            if isinstance(output, list):
                values.update(zip(output, value, strict=True))
            elif output is not None:
                values[output] = value
        for name in self.last:
            values.pop(name, None)


@dataclass(frozen=True)
class Input:
    """The one tensor that the program takes; None stands for a size that is open."""

    name: str
    sizes: tuple[int | None, ...]
    example: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Program:
    """What a file says.

    Attributes:
        tensors: name in the operations -> name in the original network, for parameters, buffers and constants.
        parameters: which of the original names are parameters.
        modules: paths of all modules of the original network.
        architecture: class name of the original network.
        writer: version of torch that wrote the file.
        choice, undecided: the output that was taken; all of them, where only the data can tell which it is.
    """

    input: Input
    output: str
    tensors: Mapping[str, str]
    parameters: frozenset[str]
    operations: tuple[ProgramOperation, ...]
    modules: tuple[str, ...]
    architecture: str
    writer: str
    choice: Choice = ONLY
    undecided: tuple[OutputCandidate, ...] = ()


def run(program: Program, tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """The file's own program, operation by operation.

    Args:
        tensors: by their names in the original network.
        images: of the batch size that the file was exported for.
    """
    values = start(program, tensors, images)
    for operation in program.operations:
        operation.run(values)
    logits: Tensor = values[program.output]
    return logits


def start(program: Program, tensors: Mapping[str, Tensor], images: Tensor) -> Values:
    """The values before the first operation."""
    named = {name: tensors[original] for name, original in program.tensors.items()}
    return {**named, program.input.name: images, IMAGES: images.shape[0], DEVICE: images.device}


def with_lifetimes(operations: Sequence[ProgramOperation], output: str) -> tuple[ProgramOperation, ...]:
    """The operations, each with the values that it is the last to read."""
    seen = {output}
    found = []
    for operation in reversed(operations):
        unread = {name for entry in operation.outputs for name in (entry if isinstance(entry, list) else [entry])}
        last = (operation.reads() | {name for name in unread if name is not None}) - seen
        seen |= operation.reads()
        found.append(replace(operation, last=tuple(sorted(last))))
    return tuple(reversed(found))


def _collect(value: Any, found: set[str]) -> None:
    if isinstance(value, Ref):
        found.add(value.name)
    elif isinstance(value, list | tuple):
        for entry in value:
            _collect(entry, found)


def _resolved(value: Any, values: Values) -> Any:
    if isinstance(value, Ref):
        return values[value.name]
    if isinstance(value, Times):
        return values[IMAGES] * value.factor
    if isinstance(value, Device):
        return values[DEVICE]
    if isinstance(value, Mapping):
        return {name: _resolved(entry, values) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_resolved(entry, values) for entry in value)
    return value
