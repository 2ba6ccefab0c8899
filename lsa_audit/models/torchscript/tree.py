"""Rebuilds the modules of a TorchScript file as ordinary ones: same paths, same names, the same tensors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from .classifier import Classifier
from .compiler import Library
from .objects import Instance, Reference, Scripted, hold, refers, replaced

Key = tuple[int, int, tuple[int, ...], tuple[int, ...], torch.dtype]


def module_types(script: Any) -> frozenset[str]:
    """Qualified names of the classes of a module and all its submodules."""
    return frozenset(str(module._type().annotation_str) for _, module in walk(script))


def rebuild(script: Any, library: Library) -> Classifier:
    """The tree of a module; parameters and buffers share the memory of the file's own tensors."""
    builder = _Builder(library)
    for path, module in walk(script):
        builder.add(path, module)
    for path, module in walk(script):
        builder.fill(builder.modules[path], module)
    network = builder.modules[""]
    assert isinstance(network, Classifier)  # noqa: S101 - narrows for mypy; the path is the root's
    if any(True for _ in (*library.holder.parameters(), *library.holder.buffers())):
        network.add_module("functions", library.holder)
    return network


def walk(script: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and module of a module of TorchScript and of all in it, parents first."""
    yield path, script
    for name, _ in torch._C.ModuleDict(script).items():
        yield from walk(script.getattr(name), f"{path}.{name}" if path else name)


class _Builder:
    """Makes the modules, then the lists and dictionaries that may hold tensors of any of them."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.modules: dict[str, Scripted] = {}
        self.tensors: dict[Key, Reference] = {}

    def add(self, path: str, script: Any) -> None:
        """A module with its parameters and buffers, put into its parent."""
        type_name = script._type().annotation_str
        children = [name for name, _ in torch._C.ModuleDict(script).items()]
        programs = self.library.programs[type_name]
        name = type_name.rpartition(".")[2]
        module: Scripted
        if path:
            numbered = bool(children) and children == [str(index) for index in range(len(children))]
            # Names of the rebuilt layers depend on what holds repeated units.
            repeats = numbered or type_name.startswith("__torch__.torch.nn.modules.container.")
            module = _class(name, (Scripted, nn.Sequential) if repeats else (Scripted,))(programs)
        else:
            module = _class(name, (Classifier,))(programs, self.library.place)
        for name, value in _tensors(torch._C.ParameterDict, script):
            module.register_parameter(name, self.parameter(value))
        for name, value in _tensors(torch._C.BufferDict, script):
            module.register_buffer(name, value.detach())
        for tensors in (module._parameters, module._buffers):
            for name, value in tensors.items():
                if value is not None and value.numel():
                    self.tensors.setdefault(_key(value), Reference(module, name))
        for program in programs.values():
            hold(module, program)
        self.modules[path] = module
        if path:
            parent, _, name = path.rpartition(".")
            self.modules[parent].add_module(name, module)

    def parameter(self, value: Tensor) -> nn.Parameter:
        """One for each piece of memory: shared weights stay shared."""
        known = self.tensors.get(_key(value)) if value.numel() else None
        if known is not None and known.name in known.owner._parameters:
            return known.owner.get_parameter(known.name)
        return nn.Parameter(value.detach(), requires_grad=value.is_floating_point())

    def fill(self, module: Scripted, script: Any) -> None:
        """The attributes that programs read and that are neither tensors of their own nor modules."""
        own = module._parameters.keys() | module._buffers.keys() | module._modules.keys() | {"training"}
        for name in sorted(self.library.attributes[script._type().annotation_str] - own):
            value = self.value(module, name, script.getattr(name))
            # What refers to no tensor stays itself, since a forward may fill it: some networks keep tables in this way.
            (module._containers if refers(value) else vars(module))[name] = value

    def value(self, owner: nn.Module, name: str, value: Any) -> Any:
        """A value with references in the place of tensors."""

        def change(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                return self.reference(owner, name, leaf)
            if isinstance(leaf, torch._C.ScriptObject):
                fields: Any = leaf
                type_name = fields._type().annotation_str
                instance = Instance(self.library.programs[type_name], self.library.holder)
                for attribute in self.library.attributes[type_name]:
                    instance.attributes[attribute] = self.value(owner, f"{name}_{attribute}", fields.getattr(attribute))
                return instance
            return leaf

        return replaced(value, change)

    def reference(self, owner: nn.Module, name: str, tensor: Tensor) -> Reference:
        """Where the tensor lies among parameters and buffers; it becomes a buffer where it is none yet."""
        known = self.tensors.get(_key(tensor)) if tensor.numel() else None
        if known is not None:
            return known
        free = next(free for count in range(10**6) if not hasattr(owner, free := f"{name}_tensor{count or ''}"))
        owner.register_buffer(free, tensor.detach(), persistent=False)
        return Reference(owner, free)


def _tensors(kind: Any, script: Any) -> list[tuple[str, Any]]:
    return list(kind(script).items())


def _key(tensor: Tensor) -> Key:
    storage = tensor.untyped_storage().data_ptr()
    return storage, int(tensor.storage_offset()), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype


@cache
def _class(name: str, bases: tuple[type[nn.Module], ...]) -> Any:
    """A class named as in the file."""
    return type(name, bases, {})
