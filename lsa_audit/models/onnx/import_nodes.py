"""The nodes of an ONNX graph as plain Python values, in an order in which they can run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from ...errors import ModelError
from .operations import OPERATIONS
from .operations.base import DTYPES, UnsupportedError

STANDARD = frozenset({"", "ai.onnx"})
BROKEN = "the file is broken: export the model again"


@dataclass(frozen=True)
class Raw:
    """A node of the file.

    Attributes:
        index: position in the file.
        name: its own, or its operation and position where it has none (`Conv_12`).
        module: path of the module that it was exported from, where the file says so.
        inputs, outputs: names of values; an input that is left out is an empty string.
    """

    index: int
    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    module: str = ""


def tensor_of(proto: onnx.TensorProto, file: str) -> Tensor:
    """A tensor of the file on the CPU, half precision as float32.

    Raises:
        ModelError: its data is not what its type and shape say.
        UnsupportedError: it holds text or another type that torch has no arithmetic for.
    """
    if proto.data_type not in DTYPES:
        raise UnsupportedError((f"a tensor of type {proto.data_type}",))
    dtype = DTYPES[proto.data_type]
    try:
        numpy_type = torch.empty(0, dtype=dtype).numpy().dtype
        return torch.from_numpy(numpy_helper.to_array(proto).astype(numpy_type))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{file}: tensor {proto.name or '(no name)'} cannot be read: {error}", BROKEN) from error


def attributes_of(node: onnx.NodeProto, file: str) -> dict[str, Any]:
    """The attributes of a node by name; a tensor of one value that fills others as (number, type).

    Raises:
        ModelError: an attribute has no value.
    """
    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if any(value is None for value in values.values()):
        raise ModelError(f"{file}: node {node.name} ({node.op_type}) has an attribute without a value", BROKEN)
    return {name: _plain(value, node.op_type, file) for name, value in values.items()}


def _plain(value: Any, op_type: str, file: str) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, onnx.TensorProto):
        return value
    tensor = tensor_of(value, file)
    if op_type != "ConstantOfShape":
        return tensor
    if tensor.numel() != 1:
        raise ModelError(f"{file}: a ConstantOfShape fills with {tensor.numel()} values", BROKEN)
    return tensor.item(), tensor.dtype


def needed(nodes: Sequence[onnx.NodeProto], output: str, known: set[str], file: str) -> list[int]:
    """Positions of the nodes that an output is made of, each behind those that it reads.

    That is the order of the file where it fulfils this.

    Args:
        known: names of the inputs and initialisers.

    Raises:
        ModelError: a value comes from nowhere, from two nodes, or from itself.
    """
    makers: dict[str, int] = {}
    for position, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in makers or name in known:
                raise ModelError(f"{file}: two nodes make the value {name}", BROKEN)
            makers[name] = position
    ordered: list[int] = []
    done, begun = set(known), set[str]()
    waiting = [(output, False)]
    while waiting:
        name, complete = waiting.pop()
        if name in done:
            continue
        if name not in makers:
            raise ModelError(f"{file}: nothing makes the value {name}", BROKEN)
        maker = nodes[makers[name]]
        if complete:
            ordered.append(makers[name])
            done.update(maker.output)
        elif name in begun:
            raise ModelError(f"{file}: the value {name} is made of itself", BROKEN)
        else:
            begun.add(name)
            waiting.append((name, True))
            waiting.extend((operand, False) for operand in maker.input if operand and operand not in done)
    sound = all(makers.get(name, -1) < position for position in ordered for name in nodes[position].input)
    return sorted(ordered) if sound else ordered


def refuse_unknown(nodes: Iterable[onnx.NodeProto]) -> None:
    """Raise UnsupportedError with every operation that has no converter."""
    missing = {
        f"{node.domain or 'ai.onnx'}::{node.op_type}"
        for node in nodes
        if node.domain not in STANDARD or (node.op_type not in OPERATIONS and node.op_type != "Constant")
    }
    if missing:
        raise UnsupportedError(tuple(sorted(missing)))


def check_operands(node: onnx.NodeProto, name: str, opset: int, file: str) -> None:
    """Compare a node with the standard.

    Raises:
        ModelError: the operation is not in this version of the standard, or has too few or too many operands.
    """
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError as error:
        raise ModelError(f"{file}: opset {opset} has no operation {node.op_type} (node {name})", BROKEN) from error
    given = len(node.input)
    required = [
        position
        for position, formal in enumerate(schema.inputs)
        if formal.option == onnx.defs.OpSchema.FormalParameterOption.Single
    ]
    absent = [position for position in required if position < given and not node.input[position]]
    if not schema.min_input <= given <= schema.max_input or absent:
        raise ModelError(f"{file}: node {name} ({node.op_type}) has {given} operands, or an empty one", BROKEN)
    if not node.output or len(node.output) > schema.max_output:
        raise ModelError(f"{file}: node {name} ({node.op_type}) has {len(node.output)} outputs", BROKEN)
