"""Hostile and broken ONNX files are refused before anything of them is used; good ones are described."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from lsa_audit.errors import ModelError, UnsafeError
from lsa_audit.models.onnx import reading
from lsa_audit.models.onnx.reading import read
from lsa_audit.settings.limits import Limits

from .model_files import cnn, linear, model, save, tensor, value

LIMITS = Limits(total_bytes=2**20)


def test_a_good_file_is_described(tmp_path: Path) -> None:
    path = save(cnn(), tmp_path)
    source = read(path, LIMITS)
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source.name, source.input_name, source.output_name) == ("net.onnx", "images", "logits")
    assert (source.batch, source.input_shape, source.classes, source.dtype) == (None, (1, 8, 8), 3, "float32")
    assert source.format == "ONNX, opset 17, written by tests 1"


@pytest.mark.parametrize(("first", "batch"), [("n", None), (None, None), (-1, None), (0, None), (1, 1), (4, 4)])
def test_the_batch_is_free_or_fixed(tmp_path: Path, first: int | str | None, batch: int | None) -> None:
    proto = cnn(1 if first in (-1, 0) else first)
    if first in (-1, 0):
        for entry in (*proto.graph.input, *proto.graph.output):
            entry.type.tensor_type.shape.dim[0].dim_value = first
    assert read(save(proto, tmp_path), LIMITS).batch == batch


def test_old_files_list_their_weights_among_the_inputs(tmp_path: Path) -> None:
    proto = cnn()
    for weight in proto.graph.initializer:
        proto.graph.input.append(value(weight.name, weight.dims))
    proto.ir_version = 3
    assert read(save(proto, tmp_path), LIMITS).input_name == "images"


def test_of_several_outputs_the_logits_stay(tmp_path: Path) -> None:
    proto = cnn()
    proto.graph.output.insert(0, value("f", ("n", 144)))
    proto.graph.output.insert(0, value("r", ("n", 4, 6, 6)))
    assert [output.name for output in read(save(proto, tmp_path), LIMITS).proto.graph.output] == ["logits"]
    proto.graph.output[2].name = proto.graph.node[3].output[0] = "out"
    undecided = read(save(proto, tmp_path), LIMITS)
    assert [(entry.name, entry.classes, entry.able) for entry in undecided.undecided] == [
        ("r", None, False),
        ("f", 144, True),
        ("out", 3, True),
    ]
    for wanted, classes in (("out", None), ("2", None), (None, 3)):
        chosen = read(save(proto, tmp_path), LIMITS, wanted, classes)
        assert (chosen.output_name, chosen.undecided) == ("out", ())


def test_nodes_come_in_the_order_of_execution(tmp_path: Path) -> None:
    proto = cnn()
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes[index] for index in (3, 1, 0, 2))
    found = read(save(proto, tmp_path), LIMITS).proto
    assert [node.op_type for node in found.graph.node] == ["Conv", "Relu", "Flatten", "Gemm"]


def test_half_precision_inside_is_seen(tmp_path: Path) -> None:
    proto = cnn()
    assert not read(save(proto, tmp_path), LIMITS).half
    proto.graph.initializer.append(tensor("unused", 2, dtype="float16"))
    assert read(save(proto, tmp_path), LIMITS).half


def test_functions_of_the_file_are_put_in_place(tmp_path: Path) -> None:
    proto = cnn()
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Bend", "own"
    body = [helper.make_node("Relu", ["x"], ["y"])]
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("own", "Bend", ["x"], ["y"], body, opsets))
    proto.opset_import.append(helper.make_opsetid("own", 1))
    nodes = read(save(proto, tmp_path), LIMITS).proto.graph.node
    assert [node.op_type for node in nodes] == ["Conv", "Relu", "Flatten", "Gemm"]


def cyclic():
    proto = cnn()
    proto.graph.node[0].input[0] = "f"
    return proto


def without(field: str):
    proto = cnn()
    proto.graph.ClearField(field)
    return proto


def missing_weight():
    proto = cnn()
    del proto.graph.initializer[2]
    return proto


def of_rank(shape, kind=TensorProto.FLOAT):
    proto = cnn()
    proto.graph.input[0].CopyFrom(value("images", shape, kind))
    return proto


def with_opset(*versions: int):
    proto = cnn()
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid("", version) for version in versions)
    return proto


def two_inputs():
    proto = cnn()
    proto.graph.input.append(value("mask", ("n", 1)))
    return proto


def other_output():
    proto = cnn()
    proto.graph.output[0].CopyFrom(value("r", ("n", 4, 6, 6)))
    return proto


def sparse():
    proto = cnn()
    proto.graph.sparse_initializer.add(dims=[10**12])
    return proto


def renamed():
    proto = cnn()
    proto.graph.node[1].op_type = "Frobnicate"
    return proto


def unreadable(place):
    proto = cnn()
    content = proto.SerializeToString()
    assert content.count(place) >= 1
    return proto.FromString(content.replace(place, place[:-1] + b"\xff"))


BROKEN = {
    "a node's name is no text": (lambda: unreadable(b"/fc/Gemm"), "names that are no text"),
    "an input's name is no text": (lambda: unreadable(b"images"), "names that are no text"),
    "an operation is no text": (lambda: unreadable(b"Flatten"), "names that are no text"),
    "cyclic": (cyclic, "cyclic graph: 4 nodes wait"),
    "missing initialiser": (missing_weight, "not a valid ONNX graph"),
    "no nodes": (lambda: without("node"), "holds no graph"),
    "no input": (lambda: without("input"), "has no input"),
    "no output": (lambda: without("output"), "no output of logits"),
    "two inputs": (two_inputs, r"2 inputs \(images, mask\)"),
    "dynamic rank": (lambda: of_rank(None), "no fixed number of dimensions"),
    "no batch": (lambda: of_rank((784,)), "no batch dimension"),
    "integers": (lambda: of_rank(("n", 1, 8, 8), TensorProto.UINT8), "images is uint8"),
    "features as output": (other_output, "no output of logits"),
    "future opset": (lambda: with_opset(99), "opset 99, this onnx knows up to"),
    "ancient opset": (lambda: with_opset(5), "opset 5, older than"),
    "no opset": (lambda: with_opset(), "names no opset"),
    "unknown operation": (renamed, "not a valid ONNX graph"),
    "sparse weights": (sparse, "sparse weights"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_graphs_are_named_in_one_line(tmp_path: Path, name: str) -> None:
    make, message = BROKEN[name]
    with pytest.raises(ModelError, match=message) as raised:
        read(save(make(), tmp_path), LIMITS)
    assert "net.onnx" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is no model\n" * 9, "truncated, or not an ONNX file"),
        (b"<!DOCTYPE html><html></html>", "truncated, or not an ONNX file"),
        (b"\x08\x08", "holds no graph"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read(path, LIMITS)


def test_no_truncation_gets_through(tmp_path: Path) -> None:
    content = save(cnn(), tmp_path).read_bytes()
    path = tmp_path / "cut.onnx"
    for size in range(1, len(content), 37):
        path.write_bytes(content[:size])
        with pytest.raises((ModelError, UnsafeError)):
            read(path, LIMITS)


def test_folders_pipes_and_nothing_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path, tmp_path / "pipe.onnx", tmp_path / "none.onnx"):
        with pytest.raises(ModelError):
            read(path, LIMITS)


def test_files_above_what_a_message_holds_skip_what_needs_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PROTOBUF_BYTES", 100)
    assert not read(save(linear(("n", 64), 64), tmp_path), LIMITS).compact


def test_doubles_and_halves_are_taken(tmp_path: Path) -> None:
    assert read(save(cnn(kind=TensorProto.FLOAT16), tmp_path), LIMITS).dtype == "float16"
    weights = [tensor("w", 64, 3, dtype="float64")]
    proto = model(
        [helper.make_node("MatMul", ["images", "w"], ["logits"])], weights, ("n", 64), kind=TensorProto.DOUBLE
    )
    assert read(save(proto, tmp_path), LIMITS).dtype == "float64"
