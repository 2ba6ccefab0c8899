"""From a checked ONNX graph to a network of ordinary torch operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
import torch
from onnx import inliner
from torch import Tensor, nn

from ...errors import ModelError
from .constants import fold
from .import_batch import settle_batch
from .import_names import module_of, named
from .import_network import Assembly, with_bias
from .import_nodes import BROKEN, STANDARD, Raw, attributes_of, check_operands, needed, refuse_unknown, tensor_of
from .operations.base import UnsupportedError
from .steps import Network

FLOATS = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
)

PRECISION_NOTES: Mapping[int, tuple[str, ...]] = {
    onnx.TensorProto.FLOAT16: ("the file computes in float16, the network in float32",),
    onnx.TensorProto.BFLOAT16: ("the file computes in bfloat16, the network in float32",),
    onnx.TensorProto.DOUBLE: ("the network computes in float64, as the file does",),
}


@dataclass(frozen=True)
class Imported:
    """A graph as a network.

    Attributes:
        network: in eval mode, on the CPU; float32 images as the graph takes them -> logits [N, K]. Weights are
            parameters under the names of their initialisers; statistics, masks and tables are buffers.
        layer_names: module path in the network -> name of the node.
        straight_through: names of the nodes whose rounding lets gradients through unchanged.
        notes: what a reader of the report should know.
        batch: the only batch size that the graph takes, by its own words or as was found; None takes any.
        free: whether the network takes any batch size, be it that the graph states one.
        input_shape: of one image as the graph states it; None where it is free.
        input_name, output_name: of the values of the file.
    """

    network: nn.Module
    layer_names: Mapping[str, str]
    straight_through: tuple[str, ...]
    notes: tuple[str, ...]
    batch: int | None
    free: bool
    input_shape: tuple[int | None, ...]
    input_name: str
    output_name: str


def import_graph(proto: onnx.ModelProto, file: str = "the ONNX file") -> Imported:
    """Rebuild a graph, one module for each node, and try it on noise.

    What depends on constants alone is computed once. A MatMul with a weight takes the addition of its bias in, as it
    is one linear layer.

    Args:
        proto: with the data of all tensors inside.
        file: for messages.

    Raises:
        UnsupportedError: operations without a converter, all of them; or a node that fails.
        ModelError: the graph is broken, or no image classifier.

    Cost: a copy of the weights, and the trial of `settle_batch`.
    """
    graph = (inliner.inline_local_functions(proto) if proto.functions else proto).graph
    if graph.sparse_initializer:
        raise UnsupportedError(("sparse initialisers",))
    opset = next((entry.version for entry in proto.opset_import if entry.domain in STANDARD), 0)
    image, shape = _image_input(graph, file)
    output, notes = _logits(graph, file)
    stored = {tensor.name for tensor in graph.initializer}
    ordered = needed(graph.node, output, {image.name, *stored}, file)
    refuse_unknown([graph.node[index] for index in ordered])
    if not any(image.name in graph.node[index].input for index in ordered):
        raise ModelError(f"{file}: the output {output} does not depend on the input {image.name}", BROKEN)
    nodes, tensors = _raw(graph, ordered, opset, file)
    left, constants, views = fold(nodes, tensors, opset)
    kind = image.type.tensor_type.elem_type
    network = Network(image.name, output, in_double=kind == onnx.TensorProto.DOUBLE)
    Assembly(network, constants, opset, output).add(named(with_bias(left, constants, views, output)))
    batch = settle_batch(network.eval(), shape[1:], shape[0], file)
    network.batch = None if batch.free else batch.size
    return Imported(
        network=network,
        layer_names=network.layer_names,
        straight_through=network.rounding(),
        notes=(*notes, *batch.notes, *PRECISION_NOTES.get(kind, ())),
        batch=batch.size,
        free=batch.free,
        input_shape=shape[1:],
        input_name=image.name,
        output_name=output,
    )


def _image_input(graph: onnx.GraphProto, file: str) -> tuple[onnx.ValueInfoProto, tuple[int | None, ...]]:
    """The one input, and its shape with the batch in front; None for what is free."""
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs[:4]) or "none"
        raise ModelError(f"{file}: has {len(inputs)} inputs ({names})", "an image classifier has one")
    kind = inputs[0].type.tensor_type
    if kind.elem_type not in FLOATS:
        raise ModelError(
            f"{file}: input {inputs[0].name} is no tensor of floats", "export the part of the model that takes floats"
        )
    if not kind.HasField("shape") or len(kind.shape.dim) < 2:
        raise ModelError(
            f"{file}: input {inputs[0].name} states no shape [N, ...]", "export the model again with one sample image"
        )
    sizes = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim)
    return inputs[0], sizes


def _logits(graph: onnx.GraphProto, file: str) -> tuple[str, tuple[str, ...]]:
    """The output that can be logits [N, K]; where there are several outputs, a note that names the others."""
    able = [value.name for value in graph.output if _may_be_logits(value)]
    if len(able) != 1:
        found = ", ".join(value.name for value in graph.output[:4]) or "none"
        what = "several outputs" if able else "no output"
        raise ModelError(f"{file}: {what} could be logits [N, K] (outputs: {found})", "export it with that one output")
    others = [value.name for value in graph.output if value.name != able[0]]
    note = f"of the outputs, {able[0]} is taken for the logits, not {', '.join(others)}"
    return able[0], (note,) if others else ()


def _may_be_logits(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    if kind.elem_type not in FLOATS:
        return False
    return not kind.HasField("shape") or len(kind.shape.dim) == 2


def _raw(graph: onnx.GraphProto, ordered: Sequence[int], opset: int, file: str) -> tuple[list[Raw], dict[str, Tensor]]:
    """The nodes that are to be converted, and the tensors that they read from the file."""
    read = {name for index in ordered for name in graph.node[index].input}
    tensors = {tensor.name: tensor_of(tensor, file) for tensor in graph.initializer if tensor.name in read}
    nodes = []
    for index in ordered:
        node = graph.node[index]
        name = node.name or f"{node.op_type}_{index}"
        check_operands(node, name, opset, file)
        attributes = attributes_of(node, file)
        if node.op_type == "Constant":
            tensors[node.output[0]] = _constant(attributes, name, file)
        else:
            names = (tuple(node.input), tuple(node.output))
            nodes.append(Raw(index, name, node.op_type, *names, attributes, module_of(node)))
    return nodes, tensors


def _constant(attributes: Mapping[str, object], name: str, file: str) -> Tensor:
    if len(attributes) != 1:
        raise ModelError(f"{file}: node {name} (Constant) has {len(attributes)} values", BROKEN)
    kind, value = next(iter(attributes.items()))
    if isinstance(value, Tensor):
        return value
    if kind not in {"value_float", "value_floats", "value_int", "value_ints"}:
        raise UnsupportedError((f"ai.onnx::Constant ({kind})",))
    return torch.tensor(value, dtype=torch.float32 if kind.startswith("value_float") else torch.int64)
