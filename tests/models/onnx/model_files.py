"""Small ONNX files for tests, made with onnx.helper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Dims = Sequence[int | str | None]
OPSET = 17


def value(name: str, dims: Dims | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def tensor(name: str, *shape: int, dtype: str = "float32", seed: int = 0) -> TensorProto:
    drawn = numpy.random.default_rng([seed, *name.encode()]).normal(size=shape) / 3
    return numpy_helper.from_array(drawn.astype(dtype), name)


def ints(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(numpy.array(values, dtype=numpy.int64), name)


def model(
    nodes: Sequence[NodeProto],
    weights: Sequence[TensorProto],
    shape: Dims,
    *,
    classes: int = 3,
    kind: int = TensorProto.FLOAT,
    opset: int = OPSET,
    domains: Sequence[str] = (),
) -> ModelProto:
    """Nodes from `images` to `logits`."""
    inputs, outputs = [value("images", shape, kind)], [value("logits", (shape[0], classes), kind)]
    graph: GraphProto = helper.make_graph(list(nodes), "net", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="tests", producer_version="1")


def cnn(batch: int | str = "n", *, kind: int = TensorProto.FLOAT, bend: str = "Relu") -> ModelProto:
    """conv -> bend -> flatten -> gemm on [batch, 1, 8, 8], three classes."""
    dtype = "float16" if kind == TensorProto.FLOAT16 else "float32"
    nodes = [
        helper.make_node("Conv", ["images", "conv.weight", "conv.bias"], ["c"], name="/conv/Conv"),
        helper.make_node(bend, ["c"], ["r"], name="/bend", domain="" if bend == "Relu" else "org.example"),
        helper.make_node("Flatten", ["r"], ["f"], name="/Flatten"),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits"], name="/fc/Gemm", transB=1),
    ]
    weights = [
        tensor("conv.weight", 4, 1, 3, 3, dtype=dtype),
        tensor("conv.bias", 4, dtype=dtype),
        tensor("fc.weight", 3, 144, dtype=dtype),
        tensor("fc.bias", 3, dtype=dtype),
    ]
    domains = () if bend == "Relu" else ("org.example",)
    return model(nodes, weights, (batch, 1, 8, 8), kind=kind, domains=domains)


def counting(batch: int | str = "n") -> ModelProto:
    """The network of `cnn` that adds 0 times the number of its non-zero features: NonZero has no fixed size."""
    proto = cnn(batch)
    proto.graph.node[3].output[0] = "scores"
    proto.graph.node.extend(
        [
            helper.make_node("NonZero", ["r"], ["where"], name="/NonZero"),
            helper.make_node("Shape", ["where"], ["shape"], name="/Shape"),
            helper.make_node("Gather", ["shape", "one"], ["count"], name="/Gather"),
            helper.make_node("Cast", ["count"], ["float"], name="/Cast", to=TensorProto.FLOAT),
            helper.make_node("Mul", ["float", "zero"], ["nothing"], name="/Mul"),
            helper.make_node("Add", ["scores", "nothing"], ["logits"], name="/Add"),
        ]
    )
    proto.graph.initializer.extend([ints("one", 1), numpy_helper.from_array(numpy.zeros(1, "float32"), "zero")])
    return proto


def linear(shape: Dims, size: int) -> ModelProto:
    """reshape to [N, size] -> gemm, for any input shape."""
    nodes = [
        helper.make_node("Reshape", ["images", "to"], ["f"], name="/Reshape"),
        helper.make_node("Gemm", ["f", "fc.weight"], ["logits"], name="/fc/Gemm", transB=1),
    ]
    return model(nodes, [ints("to", -1, size), tensor("fc.weight", 3, size)], shape)


def save(proto: ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def with_external(proto: ModelProto, location: str, offset: str = "0", length: str | None = None) -> ModelProto:
    """The same with the data of `fc.weight` said to lie in a file."""
    weight = next(entry for entry in proto.graph.initializer if entry.name == "fc.weight")
    size = len(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", offset), ("length", f"{size}" if length is None else length)):
        weight.external_data.add(key=key, value=text)
    return proto


def weight_bytes(proto: ModelProto) -> bytes:
    """The data of `fc.weight`."""
    return next(bytes(entry.raw_data) for entry in proto.graph.initializer if entry.name == "fc.weight")
