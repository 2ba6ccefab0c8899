"""The objects of a rebuilt file: modules, instances of plain classes, and how programs read, write and call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .program import ScriptProgram


@dataclass(frozen=True)
class Reference:
    """Stands for a parameter or buffer inside a list or dictionary, so that the one in use is found at each run."""

    owner: nn.Module
    name: str


class Scripted(nn.Module):
    """A module of the file with its own name, parameters, buffers and submodules; its methods are programs.

    Everything of ours is private: a file may call its submodules as it likes. `_containers` holds the attributes with
    references to tensors.
    """

    def __init__(self, programs: Mapping[str, ScriptProgram]) -> None:
        super().__init__()
        self._programs = programs
        self._containers: dict[str, Any] = {}

    def forward(self, *arguments: Any) -> Any:
        """What the file's own forward returns."""
        return self._programs["forward"].run(self, self, *arguments)


@dataclass
class Instance:
    """An object of a class that is no module."""

    programs: Mapping[str, ScriptProgram]
    owner: nn.Module
    attributes: dict[str, Any] = field(default_factory=dict)


def read(target: Scripted | Instance, name: str) -> Any:
    """An attribute."""
    if isinstance(target, Instance):
        return resolved(target.attributes[name])
    if name in target._containers:
        return resolved(target._containers[name])
    return getattr(target, name)


def write(target: Scripted | Instance, name: str, value: Any) -> None:
    """Set an attribute."""
    if isinstance(target, Instance):
        target.attributes[name] = value
    else:
        target._containers.pop(name, None)
        setattr(target, name, value)


def call(target: Scripted | Instance, method: str, arguments: list[Any]) -> Any:
    """What a method returns; a forward goes through the module, so that hooks and traces see it."""
    if isinstance(target, Instance):
        return target.programs[method].run(target.owner, target, *arguments)
    if method == "forward":
        return target(*arguments)
    return target._programs[method].run(target, target, *arguments)


def resolved(value: Any) -> Any:
    """The value with the tensors that its references stand for."""
    return replaced(value, lambda leaf: getattr(leaf.owner, leaf.name) if isinstance(leaf, Reference) else leaf)


def refers(value: Any) -> bool:
    """Whether there is a reference in nested lists, tuples and dictionaries."""
    if isinstance(value, dict | list | tuple):
        return any(refers(entry) for entry in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, Reference)


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of nested lists, tuples and dictionaries with every leaf changed."""
    if isinstance(value, dict):
        return {key: replaced(entry, change) for key, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(replaced(entry, change) for entry in value)
    if isinstance(value, list):
        return [replaced(entry, change) for entry in value]
    return change(value)


def hold(owner: nn.Module, program: ScriptProgram) -> None:
    """Give the owner the tensors of one of its programs: weights as parameters, everything else as buffers."""
    for constant in program.constants:
        path, _, name = constant.name.rpartition(".")
        holder = owner
        if path:
            if path not in owner._modules:
                owner.add_module(path, nn.Module())
            holder = owner.get_submodule(path)
        if constant.learnable:
            holder.register_parameter(name, nn.Parameter(constant.tensor.detach()))
        else:
            holder.register_buffer(name, constant.tensor.detach(), persistent=bool(path))
