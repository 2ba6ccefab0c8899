"""Tensors that are untrue about their size or lie outside the model's folder are refused before they are read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy
import pytest
from onnx import TensorProto, helper, numpy_helper

from lsa_audit.errors import ModelError, UnsafeError
from lsa_audit.models.onnx.reading import read
from lsa_audit.settings.limits import Limits

from .model_files import cnn, ints, save, value, weight_bytes, with_external

LIMITS = Limits(total_bytes=2**20)


class TestExternalData:
    def test_data_beside_the_model_come_in(self, tmp_path: Path) -> None:
        data = weight_bytes(cnn())
        (tmp_path / "net.data").write_bytes(b"1234" + data)
        source = read(save(with_external(cnn(), "net.data", "4"), tmp_path), LIMITS)
        assert weight_bytes(source.proto) == data

    def test_links_inside_a_hub_cache_are_followed(self, tmp_path: Path) -> None:
        blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "1"
        blobs.mkdir(parents=True)
        snapshot.mkdir(parents=True)
        (blobs / "data").write_bytes(weight_bytes(cnn()))
        save(with_external(cnn(), "net.data"), blobs, "model")
        (snapshot / "net.onnx").symlink_to("../../blobs/model")
        (snapshot / "net.data").symlink_to("../../blobs/data")
        assert weight_bytes(read(snapshot / "net.onnx", LIMITS).proto) == weight_bytes(cnn())

    @pytest.mark.parametrize(
        "location", ["../secret", "sub/../../secret", "/etc/passwd", "..\\secret", "C:\\secret", "a\0b", ""]
    )
    def test_places_outside_the_folder_are_refused(self, tmp_path: Path, location: str) -> None:
        folder = tmp_path / "model"
        folder.mkdir()
        (tmp_path / "secret").write_bytes(weight_bytes(cnn()))
        with pytest.raises(UnsafeError, match="outside its folder"):
            read(save(with_external(cnn(), location), folder), LIMITS)

    @pytest.mark.parametrize("link", ["file", "folder"])
    def test_links_out_of_the_folder_are_refused(self, tmp_path: Path, link: str) -> None:
        folder, outside = tmp_path / "model", tmp_path / "outside"
        folder.mkdir()
        outside.mkdir()
        (outside / "data").write_bytes(weight_bytes(cnn()))
        (folder / "way").symlink_to(outside / "data" if link == "file" else outside)
        location = "way" if link == "file" else "way/data"
        with pytest.raises(UnsafeError, match="link to outside"):
            read(save(with_external(cnn(), location), folder), LIMITS)

    @pytest.mark.parametrize(
        ("offset", "length", "message"),
        [
            ("4", None, "beyond the end"),
            ("0", "99999999", "external data are 99999999"),
            ("-4", None, "no place in a file"),
            ("9" * 30, None, "no place in a file"),
            ("0", "zero", "no place in a file"),
        ],
    )
    def test_places_that_are_not_there_are_refused(
        self, tmp_path: Path, offset: str, length: str | None, message: str
    ) -> None:
        (tmp_path / "net.data").write_bytes(weight_bytes(cnn()))
        with pytest.raises(UnsafeError, match=message):
            read(save(with_external(cnn(), "net.data", offset, length), tmp_path), LIMITS)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"net\.data, which is missing"):
            read(save(with_external(cnn(), "net.data"), tmp_path), LIMITS)

    def test_a_pipe_is_never_opened(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "net.data")
        with pytest.raises(ModelError, match="a pipe, not a file"):
            read(save(with_external(cnn(), "net.data"), tmp_path), LIMITS)


def hidden_in_a_branch():
    """A tensor that lies, inside a graph inside an attribute."""
    lie = TensorProto(name="lie", data_type=TensorProto.FLOAT, dims=[10**10], raw_data=b"1234")
    branch = helper.make_graph([helper.make_node("Identity", ["lie"], ["o"])], "b", [], [value("o", [1])], [lie])
    proto = cnn()
    truth = numpy_helper.from_array(numpy.array(True), "truth")
    proto.graph.initializer.append(truth)
    proto.graph.node.append(helper.make_node("If", ["truth"], ["u"], then_branch=branch, else_branch=branch))
    return proto


def huge_filler():
    proto = cnn()
    proto.graph.initializer.append(ints("shape", 10**5, 10**5))
    proto.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["u"]))
    return proto


def lying(**fields):
    proto = cnn()
    proto.graph.initializer[2].CopyFrom(TensorProto(name="fc.weight", data_type=TensorProto.FLOAT, **fields))
    return proto


UNSAFE = {
    "more declared than held": (lambda: lying(dims=[10**10], raw_data=b"1234"), "declares 40000000000"),
    "nothing held": (lambda: lying(dims=[3, 144]), "declares 432 numbers and holds 0"),
    "too few numbers": (lambda: lying(dims=[3, 144], float_data=[1.0] * 431), "holds 431"),
    "more held than declared": (lambda: lying(dims=[3], raw_data=b"1" * 16), "declares 12 bytes and holds 16"),
    "negative size": (lambda: lying(dims=[-3, 144], raw_data=b""), "negative size"),
    "a lie in a branch": (hidden_in_a_branch, "declares 40000000000"),
    "a huge constant": (huge_filler, "value u takes 40000000000 bytes"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_untrue_and_oversized_tensors_are_refused(tmp_path: Path, name: str) -> None:
    make, message = UNSAFE[name]
    limits = LIMITS.model_copy(update={"total_bytes": 2**30}) if name == "a huge constant" else LIMITS
    with pytest.raises(UnsafeError, match=message):
        read(save(make(), tmp_path), limits)


def test_the_file_and_all_tensors_keep_to_the_limit(tmp_path: Path) -> None:
    path = save(cnn(), tmp_path)
    with pytest.raises(UnsafeError, match=f"has {path.stat().st_size} bytes, 1000 are allowed"):
        read(path, Limits(total_bytes=1000))
    (tmp_path / "net.data").write_bytes(weight_bytes(cnn()))
    path = save(with_external(cnn(), "net.data"), tmp_path)
    total = path.stat().st_size + 100
    with pytest.raises(UnsafeError, match=f"bytes of tensors, {total} are allowed"):
        read(path, Limits(total_bytes=total))


def test_too_many_nodes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsa_audit.models.onnx.tensors.MAX_NODES", 3)
    with pytest.raises(UnsafeError, match="more than 3 nodes"):
        read(save(cnn(), tmp_path), LIMITS)


def deep():
    graph = helper.make_graph([helper.make_node("Identity", ["truth"], ["o"])], "b", [], [value("o", [1])])
    proto = cnn()
    for _ in range(60):
        node = helper.make_node("If", ["truth"], ["o"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "b", [], [value("o", [1])])
        if graph.ByteSize() > 2**16:
            break
    proto.graph.node.extend(graph.node)
    return proto


def test_graphs_inside_graphs_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsa_audit.models.onnx.tensors.MAX_DEPTH", 5)
    with pytest.raises(UnsafeError, match="nests graphs more than 5 deep"):
        read(save(deep(), tmp_path), LIMITS)


def test_functions_that_multiply_are_refused(tmp_path: Path) -> None:
    proto = cnn()
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for level in range(40):
        inner = ("Relu", "") if level == 0 else (f"F{level - 1}", "own")
        body = [
            helper.make_node(inner[0], ["x"], ["m"], domain=inner[1]),
            helper.make_node(inner[0], ["m"], ["y"], domain=inner[1]),
        ]
        proto.functions.append(helper.make_function("own", f"F{level}", ["x"], ["y"], body, opsets))
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "F39", "own"
    proto.opset_import.append(helper.make_opsetid("own", 1))
    with pytest.raises(UnsafeError, match="more than 200000 nodes"):
        read(save(proto, tmp_path), LIMITS)


def test_functions_in_a_circle_are_refused(tmp_path: Path) -> None:
    proto = cnn()
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    body = [helper.make_node("F", ["x"], ["y"], domain="own")]
    proto.functions.append(helper.make_function("own", "F", ["x"], ["y"], body, opsets))
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "F", "own"
    proto.opset_import.append(helper.make_opsetid("own", 1))
    with pytest.raises(UnsafeError, match="call each other"):
        read(save(proto, tmp_path), LIMITS)


def test_narrow_types_are_counted_in_bits(tmp_path: Path) -> None:
    proto = cnn()
    quarter = TensorProto(name="q", data_type=TensorProto.INT4, dims=[3], raw_data=b"12")
    proto.graph.initializer.append(quarter)
    proto.ir_version = 10
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("", 21))
    read(save(proto, tmp_path), LIMITS)
    quarter.raw_data = b"123"
    proto.graph.initializer[-1].CopyFrom(quarter)
    with pytest.raises(UnsafeError, match="declares 2 bytes and holds 3"):
        read(save(proto, tmp_path), LIMITS)
