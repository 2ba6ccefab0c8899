"""The module tree of the original network, rebuilt around the operations of a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..static_batch import in_groups
from .program import Program, ProgramCall, ProgramOperation, Values, start

DEEPEST = 100


class Scope(nn.Module):
    """One module of the original network: its tensors, its submodules, and what ran in each of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded_calls: list[list[ProgramOperation | CallStep]] = []

    def forward(self, values: Values, call: int) -> None:
        """Run one recorded call on the values of the whole program."""
        run_steps(self.recorded_calls[call], values)


@dataclass(frozen=True)
class CallStep:
    """A call of a submodule, as one step of its caller."""

    module: Scope
    call: int


class ExportedNetwork(nn.Module):
    """A program of torch.export as an ordinary network: images to logits [N, K].

    Attributes:
        group_size: the only batch size that the operations are right for; None: any.
    """

    def __init__(self, program: Program, tensors: Mapping[str, Tensor], group_size: int | None) -> None:
        super().__init__()
        self.recorded_program = program
        self.group_size = group_size
        self.recorded_steps: list[ProgramOperation | CallStep] = []
        _plant(self, program, tensors)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, ...], laid out as the file wants them, to logits [N, K]."""
        return self._run(images) if self.group_size is None else in_groups(self._run, images, self.group_size)

    def _run(self, images: Tensor) -> Tensor:
        parameters = self.named_parameters(remove_duplicate=False)
        tensors = {**dict(parameters), **dict(self.named_buffers(remove_duplicate=False))}
        values = start(self.recorded_program, tensors, images)
        run_steps(self.recorded_steps, values)
        logits: Tensor = values[self.recorded_program.output]
        return logits


def run_steps(steps: Sequence[ProgramOperation | CallStep], values: Values) -> None:
    """Run operations and calls of submodules in order."""
    for step in steps:
        if isinstance(step, ProgramOperation):
            step.run(values)
        else:
            step.module(values, step.call)


def _plant(network: ExportedNetwork, program: Program, tensors: Mapping[str, Tensor]) -> None:
    """Make the modules, put the tensors where the file names them, and hand each call its operations."""
    modules = _modules(network, program)
    shared: dict[Any, nn.Parameter] = {}
    for name in dict.fromkeys(program.tensors.values()):
        path, _, leaf = name.rpartition(".")
        tensor = tensors[name]
        if name in program.parameters and tensor.is_floating_point():
            # One parameter may go by several names.
            place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()) if tensor.numel() else name
            modules[path].register_parameter(leaf, shared.setdefault(place, nn.Parameter(tensor)))
        else:
            modules[path].register_buffer(leaf, tensor)
    network.recorded_steps = _nested(program.operations, 0, modules)


def _modules(network: ExportedNetwork, program: Program) -> dict[str, nn.Module]:
    """Every module by its path, with the class names of the original."""
    kinds = {call.path: call.kind for operation in program.operations for call in operation.calls}
    owners = [name.rpartition(".")[0] for name in program.tensors.values()]
    children: dict[str, list[str]] = {"": []}
    for path in filter(None, [*program.modules, *kinds, *owners]):
        _register(path, children)
    modules: dict[str, nn.Module] = {"": network}
    for parent, leaves in children.items():
        for leaf in leaves:
            path = f"{parent}.{leaf}" if parent else leaf
            listed = bool(children[path]) and all(child.isdigit() for child in children[path])
            modules[path] = _module(kinds.get(path), listed)
            modules[parent].add_module(leaf, modules[path])
    return modules


def _register(path: str, children: dict[str, list[str]]) -> None:
    """Add a path and the containers around it, which nothing calls, to the tree of names."""
    parts = path.split(".")
    if len(parts) > DEEPEST or not path.isprintable():
        raise ValueError(f"a module lies {len(parts)} deep, or has a name that cannot be shown")
    for depth in range(len(parts)):
        parent, inner = ".".join(parts[:depth]), ".".join(parts[: depth + 1])
        if inner not in children:
            children[inner] = []
            children[parent].append(parts[depth])


def _module(kind: str | None, listed: bool) -> nn.Module:
    """A scope that goes by the class name of the original; lists stay lists, so that their entries count as units."""
    if kind is None:
        return nn.ModuleList() if listed else nn.Module()
    bases = (Scope, nn.Sequential) if listed or kind == "Sequential" else (Scope,)
    module: nn.Module = type(kind, bases, {})()
    return module


def _nested(
    operations: Sequence[ProgramOperation], depth: int, modules: Mapping[str, nn.Module]
) -> list[ProgramOperation | CallStep]:
    """Steps of one call: neighbouring operations of the same inner call become one step."""
    steps: list[ProgramOperation | CallStep] = []
    position = 0
    while position < len(operations):
        call = _inner(operations[position], depth)
        end = position + 1
        if call is None:
            steps.append(operations[position])
        else:
            while end < len(operations) and _inner(operations[end], depth) == call:
                end += 1
            steps.append(_step(modules[call.path], _nested(operations[position:end], depth + 1, modules)))
        position = end
    return steps


def _step(module: nn.Module, steps: list[ProgramOperation | CallStep]) -> CallStep:
    assert isinstance(module, Scope)  # noqa: S101 - a path that is called has a kind, hence a scope
    module.recorded_calls.append(steps)
    return CallStep(module, len(module.recorded_calls) - 1)


def _inner(operation: ProgramOperation, depth: int) -> ProgramCall | None:
    """The module call at this depth below the network itself."""
    inside = [call for call in operation.calls if call.path]
    return inside[depth] if depth < len(inside) else None
