"""What of an ONNX graph is known before it runs: weights, tables, and whatever is computed from them alone."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .import_nodes import Raw
from .operations import OPERATIONS
from .operations.base import Node, Value, failure
from .operations.shapes import NUMERIC
from .steps import NodeStep

WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Einsum": (0, 1, 2),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1, 2),
    "PRelu": (1,),
    "RMSNormalization": (1,),
}
"""Positions of the operands that training has set."""

VECTORS = frozenset({"Add", "Mul"})
"""Operations whose constant operand is a trained bias or scale where it is a vector, else a mask or a table."""

VIEWS = frozenset({"Transpose", "Reshape", "Unsqueeze", "Squeeze", "Flatten"})
"""Left in the network where they turn a weight, so that the weight keeps the shape that the file gives it."""

THROUGH = VIEWS | {"Identity", "Cast", "DequantizeLinear", "QuantizeLinear"}
"""Operations through which a weight is still one."""

DEEPEST = 20
"""Dots in a name that make submodules; modules may not lie deeper in each other than Python can recurse."""

FEW, FEW_FLOATS = 64, 4
"""Sizes and indices are up to so many integers, scales up to so many floats."""


@dataclass(frozen=True)
class Constant:
    """A value that does not depend on the input.

    Attributes:
        name: of the initialiser, or of the value where it is computed.
        value: a tensor on the CPU, or numbers.
        trained: whether it becomes a parameter.
        stored: whether the file holds it as it is.
    """

    name: str
    value: Value
    trained: bool
    stored: bool


def trained_names(nodes: Sequence[Raw], tensors: Mapping[str, Tensor]) -> set[str]:
    """Names of the values that are weights, by who reads them."""
    weights: set[str] = set()
    vectors: set[str] = set()
    for node in reversed(nodes):
        for position in WEIGHTS.get(node.op_type, ()):
            weights.update(node.inputs[position : position + 1])
        if node.op_type in VECTORS:
            vectors.update(node.inputs)
        if node.op_type in THROUGH:
            for known in (weights, vectors):
                if node.outputs[0] in known:
                    known.add(node.inputs[0])
    return weights | {name for name in vectors if name in tensors and _is_vector(tensors[name])}


def _is_vector(values: Tensor) -> bool:
    return values.dim() == 1 and len(values) > 1


def fold(
    nodes: Sequence[Raw], tensors: Mapping[str, Tensor], opset: int
) -> tuple[list[Raw], dict[str, Constant], dict[str, Constant]]:
    """Run what depends on constants alone.

    Returns:
        The nodes that are left, the constants by the name of their value, and the same of those that nodes which are
        left turn.

    Raises:
        UnsupportedError: a node fails; names it.
    """
    trained = trained_names(nodes, tensors)
    constants = {
        name: Constant(name, value, _trainable(value, name in trained), True) for name, value in tensors.items()
    }
    views: dict[str, Constant] = {}
    left = []
    for node in nodes:
        known = [constants.get(name, views.get(name)) for name in node.inputs]
        first = known[0] if known else None
        complete = all(constant is not None or not name for constant, name in zip(known, node.inputs, strict=True))
        turns = complete and first is not None and first.trained and node.op_type in VIEWS
        if turns:
            left.append(node)
            _run(node, opset, ChainMap(views, constants), trained)
        elif not complete or not views.keys().isdisjoint(node.inputs):
            left.append(node)
        elif first is not None and node.op_type == "Identity":
            constants[node.outputs[0]] = first
        else:
            _run(node, opset, constants, trained)
    return left, constants, views


def _run(node: Raw, opset: int, constants: MutableMapping[str, Constant], trained: set[str]) -> None:
    settled = described(node, opset, constants, (True,) * len(node.outputs))
    operands = [operand_value(node, place, constants) for place in range(len(node.inputs))]
    try:
        with torch.no_grad():
            result = NodeStep(settled)(torch.device("cpu"), *operands)
    except Exception as error:
        raise failure(f"{node.name} ({node.op_type})", error) from error
    source = constants.get(node.inputs[0]) if node.inputs else None
    unpacked = node.op_type in {"DequantizeLinear", "Cast"} and source is not None and source.stored
    for name, value in zip(node.outputs, result if isinstance(result, tuple) else (result,), strict=False):
        label = source.name if unpacked and source is not None else name
        constants[name] = Constant(label, value, _trainable(value, name in trained), False)


def _trainable(value: Value, is_weight: bool) -> bool:
    return is_weight and isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 0


def described(node: Raw, opset: int, constants: Mapping[str, Constant], used: tuple[bool, ...]) -> Node:
    """The node as its converter sees it."""
    values = {place: constants[name].value for place, name in enumerate(node.inputs) if name in constants}
    types = {place: value.dtype for place, value in values.items() if isinstance(value, Tensor)}
    return Node(node.name, node.op_type, opset, node.attributes, types, used)


def operand_value(node: Raw, place: int, constants: Mapping[str, Constant]) -> Any:
    """A constant operand as the step takes it while folding: numbers where only numbers do, and for arithmetic."""
    name = node.inputs[place]
    value = constants[name].value if name else None
    if not isinstance(value, Tensor):
        return value
    whole = node.op_type in NUMERIC and is_small(value) and not value.is_floating_point()
    return value.tolist() if whole or place in OPERATIONS[node.op_type].numbers else value


def is_small(values: Tensor) -> bool:
    """Whether a constant can be part of a shape, or of the arithmetic around one, rather than a table of its own."""
    return values.dim() < 2 and values.numel() <= (FEW_FLOATS if values.is_floating_point() else FEW)


class WeightHolder(nn.Module):
    """Holds weights under a part of their name."""


def hold(network: nn.Module, constant: Constant) -> str:
    """Make a constant a parameter or a buffer of a network, under its own name; returns its path.

    Dots in the name make submodules, as in a state dict. Other characters that cannot stand in an attribute become
    `_`, and a name that is taken gets one more `_`.
    """
    *parts, leaf = (re.sub(r"\W", "_", part) or "_" for part in constant.name.split(".", DEEPEST))
    place, path = network, []
    for part in parts:
        while hasattr(place, part) and not isinstance(getattr(place, part), WeightHolder):
            part += "_"
        if not hasattr(place, part):
            place.add_module(part, WeightHolder())
        place = place.get_submodule(part)
        path.append(part)
    while hasattr(place, leaf):
        leaf += "_"
    value = constant.value
    assert isinstance(value, Tensor)  # noqa: S101 - numbers are operands as they are
    if constant.trained:
        place.register_parameter(leaf, nn.Parameter(value))
    else:
        # a table that was computed, or a mask of -inf, is no weight that a checkpoint holds
        place.register_buffer(leaf, value, persistent=constant.stored and bool(torch.isfinite(value).all()))
    return ".".join([*path, leaf])
