"""Makers of ONNX files that lie, escape or cannot be read: each writes one file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ..models.onnx.model_files import cnn, model, save, tensor, value, weight_bytes, with_external

Maker = Callable[[Path], Path]


def sound(folder: Path) -> Path:
    return save(cnn(), folder)


def changed(change: Callable[[ModelProto], None]) -> Maker:
    def make(folder: Path) -> Path:
        proto = cnn()
        change(proto)
        return save(proto, folder)

    return make


def external(location: str, offset: str = "0", length: str | None = None) -> Maker:
    """Weights in another file; `{outside}` is a file out of the model's folder that holds enough bytes."""

    def make(folder: Path) -> Path:
        content = weight_bytes(cnn())
        outside = folder.parent / f"{folder.name}-outside.bin"
        outside.write_bytes(content)
        (folder / "inside.bin").write_bytes(content)
        place = location.format(outside=outside, name=outside.name)
        return save(with_external(cnn(), place, offset, length), folder)

    return make


def external_symlink(folder: Path) -> Path:
    path = external("link.bin")(folder)
    (folder / "link.bin").symlink_to(folder.parent / f"{folder.name}-outside.bin")
    return path


def external_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.bin")
    return external("pipe.bin")(folder)


def _cycle(proto: ModelProto) -> None:
    proto.graph.node[0].input[0] = "f"


def _unnamed_weight(proto: ModelProto) -> None:
    del proto.graph.initializer[0]


def _rank(proto: ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.ClearField("shape")


def _dims(proto: ModelProto) -> None:
    weight = proto.graph.initializer[2]
    weight.dims[:] = [10**10, 144]


def _negative(proto: ModelProto) -> None:
    proto.graph.initializer[2].dims[0] = -3


def _opset(proto: ModelProto) -> None:
    proto.opset_import[0].version = 999


def _endless(proto: ModelProto) -> None:
    """A function that calls itself."""
    node = helper.make_node("again", ["a"], ["b"], domain="local")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    proto.functions.append(helper.make_function("local", "again", ["a"], ["b"], [node], opsets))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    proto.graph.node[1].CopyFrom(helper.make_node("again", ["c"], ["r"], domain="local"))


def _doubling(proto: ModelProto) -> None:
    """Thirty functions, each calling the next one twice: a thousand million operations in the end."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    for level in range(30):
        target, domain = (f"level{level + 1}", "local") if level < 29 else ("Relu", "")
        nodes = [
            helper.make_node(target, ["a"], ["middle"], domain=domain),
            helper.make_node(target, ["middle"], ["b"], domain=domain),
        ]
        proto.functions.append(helper.make_function("local", f"level{level}", ["a"], ["b"], nodes, opsets))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    proto.graph.node[1].CopyFrom(helper.make_node("level0", ["c"], ["r"], domain="local"))


def _painted(proto: ModelProto) -> None:
    """A name that clears the terminal that it is printed on, and is long."""
    proto.graph.node[1].op_type = "\x1b[2J" + "Evil" * 999


painted_operation = changed(_painted)
cyclic = changed(_cycle)
missing_initializer = changed(_unnamed_weight)
dynamic_rank = changed(_rank)
huge_dims = changed(_dims)
negative_dims = changed(_negative)
newer_opset = changed(_opset)
endless_function = changed(_endless)
doubling_functions = changed(_doubling)


def unknown_domain(folder: Path) -> Path:
    return save(cnn(bend="Escape"), folder)


def huge_constant(folder: Path) -> Path:
    """One small node asks for 40 GB."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["large"], name="/large"),
        helper.make_node("ReduceSum", ["large"], ["nothing"], name="/sum", keepdims=0),
        helper.make_node("Flatten", ["images"], ["f"], name="/flatten"),
        helper.make_node("Gemm", ["f", "fc.weight"], ["scores"], name="/fc", transB=1),
        helper.make_node("Add", ["scores", "nothing"], ["logits"], name="/add"),
    ]
    shape = numpy_helper.from_array(numpy.array([10**10], dtype=numpy.int64), "shape")
    return save(model(nodes, [shape, tensor("fc.weight", 3, 16)], ("n", 1, 4, 4)), folder)


def huge_expansion(folder: Path) -> Path:
    nodes = [
        helper.make_node("Expand", ["one", "shape"], ["large"], name="/large"),
        helper.make_node("ReduceSum", ["large"], ["nothing"], name="/sum", keepdims=0),
        helper.make_node("Flatten", ["images"], ["f"], name="/flatten"),
        helper.make_node("Gemm", ["f", "fc.weight"], ["scores"], name="/fc", transB=1),
        helper.make_node("Add", ["scores", "nothing"], ["logits"], name="/add"),
    ]
    shape = numpy_helper.from_array(numpy.array([10**10], dtype=numpy.int64), "shape")
    weights = [shape, tensor("one", 1), tensor("fc.weight", 3, 16)]
    return save(model(nodes, weights, ("n", 1, 4, 4)), folder)


def empty_nodes(folder: Path) -> Path:
    """Two bytes each in the file, a hundred in memory."""
    nodes = b"\x0a\x00" * 12_000_000
    length = len(nodes)
    digits = []
    while length:
        digits.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
    path = folder / "net.onnx"
    path.write_bytes(b"\x08\x08\x3a" + bytes(digits) + nodes)
    return path


def truncated(folder: Path) -> Path:
    path = sound(folder)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def without_graph(folder: Path) -> Path:
    (folder / "net.onnx").write_bytes(b"\x08\x08\x12\x05tests")
    return folder / "net.onnx"


def without_nodes(folder: Path) -> Path:
    return changed(lambda proto: proto.graph.ClearField("node"))(folder)


def text_weights(folder: Path) -> Path:
    def change(proto: ModelProto) -> None:
        weight = proto.graph.initializer[2]
        weight.ClearField("raw_data")
        weight.data_type = TensorProto.STRING
        weight.string_data.extend([b"x"] * (3 * 144))

    return changed(change)(folder)


def image_of_words(folder: Path) -> Path:
    return changed(lambda proto: proto.graph.input[0].CopyFrom(value("images", ("n", 1, 8, 8), TensorProto.STRING)))(
        folder
    )


def _not_a_number(proto: ModelProto) -> None:
    weight = next(entry for entry in proto.graph.initializer if entry.name == "conv.bias")
    weight.raw_data = numpy.full(4, numpy.nan, dtype="float32").tobytes()


nan_weights = changed(_not_a_number)
