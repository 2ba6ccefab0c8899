"""What the tensors inside a graph are for, so that the weights of a frozen file become parameters with a name.

A frozen file keeps no names and no modules: its weights are constants among masks and tables.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

LEARNABLE = re.compile(r".*(weight|bias).*|params_\d*")
STATISTICS = ("running_mean", "running_var")
PRODUCTS: dict[str, tuple[str, ...]] = {
    "matmul": ("weight", "weight"),
    "mm": ("weight", "weight"),
    "bmm": ("weight", "weight"),
    "addmm": ("bias", "weight", "weight"),
    "baddbmm": ("bias", "weight", "weight"),
}
INNER = frozenset({"_convolution", "_convolution_mode"})
RESHAPES = frozenset({"t", "transpose", "numpy_T", "permute", "contiguous"})


@dataclass(frozen=True)
class Role:
    """The argument of an operation that a tensor is for.

    Attributes:
        place: of the operation in its graph.
        operation: e.g. `conv2d`.
        argument: as torch names it; `params_0`, `params_1` ... for the members of the list `params`.
    """

    place: int
    operation: str
    argument: str

    @property
    def learnable(self) -> bool:
        """Whether the tensor is a weight or a bias, not a statistic."""
        return LEARNABLE.fullmatch(self.argument) is not None


def nodes_of(block: torch._C.Graph | torch._C.Block) -> Iterator[torch._C.Node]:
    """All nodes, those of inner blocks included."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes_of(inner)


def constant_names(graph: torch._C.Graph, counts: Counter[str]) -> dict[int, tuple[str, bool]]:
    """Name of each tensor that the graph holds, by the value's number, and whether it is learnable.

    Args:
        counts: operations named so far by the same owner; is moved on.
    """
    held = {
        node.output().unique(): value
        for node in nodes_of(graph)
        if node.kind() == "prim::Constant" and isinstance(value := node.output().toIValue(), Tensor)
    }
    known = {
        unique: role for unique, role in _roles(graph).items() if unique in held and held[unique].is_floating_point()
    }
    prefixes: dict[int, str] = {}
    names: dict[int, tuple[str, bool]] = {}
    taken: set[str] = set()
    for unique, role in sorted(known.items(), key=lambda item: item[1].place):
        if role.place not in prefixes:
            counts[role.operation] += 1
            prefixes[role.place] = f"{role.operation}_{counts[role.operation]}"
        name = f"{prefixes[role.place]}.{role.argument}"
        if name not in taken:
            taken.add(name)
            names[unique] = (name, role.learnable)
    for unique in held.keys() - names.keys():
        counts["constant"] += 1
        names[unique] = (f"constant_{counts['constant']}", False)
    return names


def _roles(graph: torch._C.Graph) -> dict[int, Role]:
    """The first use of each value, where that tells what it is for."""
    found: dict[int, Role] = {}
    # From behind, so that it is known what a list or a transposed weight is for before its members are seen.
    for place, node in reversed(list(enumerate(nodes_of(graph)))):
        name, inputs = node.kind().partition("::")[2], list(node.inputs())
        if name == "ListConstruct" or name in RESHAPES:
            outer = found.get(node.output().unique())
            if outer is None:
                continue
            for index, value in enumerate(inputs if name == "ListConstruct" else inputs[:1]):
                member = str(index) if name == "ListConstruct" else ""
                found[value.unique()] = Role(outer.place, outer.operation, f"{outer.argument}{member}")
            continue
        operation = _convolution(inputs[1]) if name in INNER else name
        for value, argument in zip(inputs, _arguments(node, name), strict=False):
            argument = "params_" if argument == "params" else argument
            if LEARNABLE.fullmatch(argument) or argument in STATISTICS:
                found[value.unique()] = Role(place, operation, argument)
    return found


def _arguments(node: torch._C.Node, name: str) -> tuple[str, ...]:
    if not node.kind().startswith("aten::") or not node.schema().startswith("aten::"):
        return ()
    if name in PRODUCTS:
        return PRODUCTS[name]
    return tuple(argument.name for argument in torch._C.parse_schema(node.schema()).arguments)


def _convolution(weight: torch._C.Value) -> str:
    """Traced files name only the inner convolution."""
    value = weight.toIValue()
    return f"conv{value.dim() - 2}d" if isinstance(value, Tensor) else "conv"
