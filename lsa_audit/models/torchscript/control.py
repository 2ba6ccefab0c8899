"""What the nodes do that move values about, choose, repeat, and call: TorchScript's own, not torch's operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import ModelError
from .objects import Instance, call, read, write
from .operations import as_tensor
from .program import Registers, Step

if TYPE_CHECKING:
    from .compiler import Compiler

CLASSES: dict[str, type | tuple[type, ...]] = {
    "TensorType": Tensor,
    "IntType": (int, torch.SymInt),
    "FloatType": (float, torch.SymFloat),
    "BoolType": bool,
    "StringType": str,
    "NoneType": type(None),
    "ListType": list,
    "TupleType": tuple,
    "DictType": dict,
}


def _list(compiler: Compiler, node: torch._C.Node) -> Step:
    place = compiler.library.place
    if "Tensor" not in node.output().type().annotation_str:
        return compiler.assign(node, lambda *items: list(items))
    numbers = (int, float, torch.SymInt, torch.SymFloat)
    return compiler.assign(
        node, lambda *items: [as_tensor(item, place) if isinstance(item, numbers) else item for item in items]
    )


def _tuple(compiler: Compiler, node: torch._C.Node) -> Step:
    return compiler.assign(node, lambda *items: items)


def _dictionary(compiler: Compiler, node: torch._C.Node) -> Step:
    return compiler.assign(node, lambda *items: dict(zip(items[::2], items[1::2], strict=True)))


def _unpack(compiler: Compiler, node: torch._C.Node) -> Step:
    outputs = tuple(compiler.register(value) for value in node.outputs())
    source = compiler.register(node.input())

    def step(registers: Registers) -> None:
        for register, value in zip(outputs, registers[source], strict=True):
            registers[register] = value

    return step


def _tuple_slice(compiler: Compiler, node: torch._C.Node) -> Step:
    begin, end = node.i("beg"), node.i("end")
    return compiler.assign(node, lambda items: items[begin:end])


def _chunk(compiler: Compiler, node: torch._C.Node) -> Step:
    chunks, dim = node.i("chunks"), node.i("dim")
    return compiler.assign(node, lambda tensor: tensor.chunk(chunks, dim))


def _get_attribute(compiler: Compiler, node: torch._C.Node) -> Step:
    name = node.s("name")
    compiler.library.attributes[node.input().type().annotation_str].add(name)
    return compiler.assign(node, lambda target: read(target, name))


def _set_attribute(compiler: Compiler, node: torch._C.Node) -> Step:
    name = node.s("name")
    target, value = (compiler.register(one) for one in node.inputs())
    return lambda registers: write(registers[target], name, registers[value])


def _call_method(compiler: Compiler, node: torch._C.Node) -> Step:
    name = node.s("name")
    return compiler.assign(node, lambda target, *arguments: call(target, name, list(arguments)))


def _call_function(compiler: Compiler, node: torch._C.Node) -> Step:
    library = compiler.library
    owner, _, name = next(iter(node.inputs())).type().annotation_str.rpartition(".")
    return compiler.assign(node, lambda _, *arguments: library.programs[owner][name].run(library.holder, *arguments))


def _create(compiler: Compiler, node: torch._C.Node) -> Step:
    library, name = compiler.library, node.output().type().annotation_str
    return compiler.assign(node, lambda: Instance(library.programs[name], library.holder))


def _enter(compiler: Compiler, node: torch._C.Node) -> Step:
    return compiler.assign(node, lambda target: call(target, "__enter__", []))


def _exit(compiler: Compiler, node: torch._C.Node) -> Step:
    return compiler.assign(node, lambda target: call(target, "__exit__", [None, None, None]))


def _is_instance(compiler: Compiler, node: torch._C.Node) -> Step:
    classes = tuple(CLASSES[kind.kind()] for kind in node.tys("types"))
    return compiler.assign(node, lambda value: isinstance(value, classes))


def _if(compiler: Compiler, node: torch._C.Node) -> Step:
    condition = compiler.register(node.input())
    yes, no = (compiler.block(block) for block in node.blocks())
    outputs = tuple(compiler.register(value) for value in node.outputs())

    def step(registers: Registers) -> None:
        branch = yes if registers[condition] else no
        branch.run(registers)
        for output, result in zip(outputs, branch.results, strict=True):
            registers[output] = registers[result]

    return step


def _loop(compiler: Compiler, node: torch._C.Node) -> Step:
    limit, start, *carried = (compiler.register(value) for value in node.inputs())
    (body,) = (compiler.block(block) for block in node.blocks())
    outputs = tuple(compiler.register(value) for value in node.outputs())

    def step(registers: Registers) -> None:
        trips, goes_on = registers[limit], registers[start]
        values = [registers[register] for register in carried]
        trip = 0
        while goes_on and trip < trips:
            for register, value in zip(body.arguments, (trip, *values), strict=True):
                registers[register] = value
            body.run(registers)
            goes_on, *values = [registers[register] for register in body.results]
            trip += 1
        for register, value in zip(outputs, values, strict=True):
            registers[register] = value

    return step


def _raise(compiler: Compiler, node: torch._C.Node) -> Step:
    message = compiler.register(next(iter(node.inputs())))

    def step(registers: Registers) -> None:
        raise ModelError(f"the model itself says: {registers[message]}", "give images of the size that it was made for")

    return step


STEPS: dict[str, Callable[[Compiler, torch._C.Node], Step]] = {
    "prim::ListConstruct": _list,
    "prim::TupleConstruct": _tuple,
    "prim::DictConstruct": _dictionary,
    "prim::ListUnpack": _unpack,
    "prim::TupleUnpack": _unpack,
    "prim::TupleSlice": _tuple_slice,
    "prim::ConstantChunk": _chunk,
    "prim::GetAttr": _get_attribute,
    "prim::SetAttr": _set_attribute,
    "prim::CallMethod": _call_method,
    "prim::CallFunction": _call_function,
    "prim::CreateObject": _create,
    "prim::Enter": _enter,
    "prim::Exit": _exit,
    "prim::isinstance": _is_instance,
    "prim::If": _if,
    "prim::Loop": _loop,
    "prim::RaiseException": _raise,
}
