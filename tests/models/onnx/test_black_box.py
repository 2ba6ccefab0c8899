"""A file that only onnxruntime can run: logits, intermediate values, weights counted and hashed."""

from __future__ import annotations

import pytest
import torch
from onnx import helper

from lsa_audit.models import ModelRequest, describe, fit
from lsa_audit.models.onnx import load
from lsa_audit.models.onnx.black_box import BlackBox
from lsa_audit.models.onnx.reading import read
from lsa_audit.settings.limits import Limits

from .model_files import cnn, counting, ints, model, save, tensor

pytest.importorskip("onnxruntime")


def box(proto, folder) -> BlackBox:
    return BlackBox(read(save(proto, folder), Limits()), ("ai.onnx::NonZero",))


def images(count: int) -> torch.Tensor:
    return torch.rand((count, 1, 8, 8), generator=torch.Generator().manual_seed(1))


def test_unsupported_operations_make_a_black_box_with_the_same_logits(tmp_path):
    found = load(ModelRequest(str(save(counting(), tmp_path))))
    assert isinstance(found.module.network, BlackBox)
    assert found.conversion.opaque == ("ai.onnx::NonZero",)
    assert found.conversion.parity is None
    assert found.conversion.parity_detail.endswith("itself")
    expected = load(ModelRequest(str(save(cnn(), tmp_path, "plain.onnx"))))
    with torch.no_grad():
        assert torch.allclose(found.module(images(5)), expected.module(images(5)), atol=1e-6)


def test_the_logits_carry_no_gradient(tmp_path):
    assert not box(counting(), tmp_path)(images(2).requires_grad_()).requires_grad


def test_the_record_counts_and_hashes_the_weights_of_the_file(tmp_path):
    info = describe(fit(load(ModelRequest(str(save(counting(), tmp_path)))), images(2)))
    assert info.parameters == 4 * 9 + 4 + 3 * 144 + 3 + 1  # the last one is the 0 that is multiplied
    changed = counting()
    changed.graph.initializer[1].CopyFrom(tensor("conv.bias", 4, seed=9))
    other = describe(fit(load(ModelRequest(str(save(changed, tmp_path, "other.onnx")))), images(2)))
    assert other.weights_sha256 != info.weights_sha256
    again = describe(fit(load(ModelRequest(str(save(counting(), tmp_path, "again.onnx")))), images(2)))
    assert again.weights_sha256 == info.weights_sha256


def test_intermediates_are_the_nodes_that_depend_on_the_images(tmp_path):
    entries = {entry.name: entry for entry in box(counting(), tmp_path).intermediates()}
    # Shapes count as independent of the values, here too, so what is made of this one alone is left out.
    assert list(entries) == ["/conv/Conv", "/bend", "/Flatten", "/fc/Gemm", "/NonZero", "/Add"]
    assert (entries["/conv/Conv"].operation, entries["/conv/Conv"].value) == ("Conv", "c")
    assert entries["/conv/Conv"].operands == ("images",)
    assert [entry.parameters for entry in entries.values()] == [40, 0, 0, 435, 0, 1]


def test_weights_behind_constant_operations_count_once_and_statistics_not(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("Flatten", ["images"], ["f"]),
        helper.make_node("MatMul", ["f", "wt"], ["h"]),
        helper.make_node("BatchNormalization", ["h", "s", "b", "mean", "var"], ["n"]),
        helper.make_node("MatMul", ["n", "u"], ["i"]),
        helper.make_node("MatMul", ["i", "u"], ["logits"]),
    ]
    weights = [tensor("w", 3, 64), tensor("u", 3, 3), *(tensor(name, 3) for name in ("s", "b", "mean", "var"))]
    network = box(model(nodes, weights, ("n", 1, 8, 8)), tmp_path)
    parameters = {entry.name: entry.parameters for entry in network.intermediates()}
    assert parameters == {
        "Flatten_1": 0,
        "MatMul_2": 192,
        "BatchNormalization_3": 6,
        "MatMul_4": 9,
        "MatMul_5": 0,
    }
    assert network.parameter_count == 207


def test_values_are_those_of_the_converted_network(tmp_path):
    network = box(cnn(), tmp_path)
    logits, values = network.run_with(images(3), ["r", "c"])
    assert list(values) == ["r", "c"]
    assert torch.equal(values["r"], values["c"].relu())
    assert torch.allclose(logits, network(images(3)), atol=1e-6)


def test_channels_last_go_in_as_they_should(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["images"], ["t"], name="/turn", perm=[0, 3, 1, 2]),
        helper.make_node("Reshape", ["t", "to"], ["f"], name="/flat"),
        helper.make_node("Gemm", ["f", "w"], ["logits"], name="/fc", transB=1),
    ]
    weight = tensor("w", 3, 60)
    path = save(model(nodes, [ints("to", -1, 60), weight], ("n", 5, 4, 3)), tmp_path)
    network = BlackBox(read(path, Limits()), ("none",))
    pictures = torch.rand((2, 3, 5, 4), generator=torch.Generator().manual_seed(1))
    matrix = torch.frombuffer(bytearray(weight.raw_data), dtype=torch.float32).view(3, 60)
    assert torch.allclose(network(pictures.permute(0, 2, 3, 1)), pictures.flatten(1) @ matrix.T, atol=1e-6)


def test_one_session_serves_all_runs_with_the_same_values(tmp_path, monkeypatch):
    from lsa_audit.models.onnx import black_box

    made = []
    program = black_box.RuntimeProgram
    monkeypatch.setattr(
        black_box, "RuntimeProgram", lambda *args, **named: made.append(named) or program(*args, **named)
    )
    network = box(cnn(), tmp_path)
    for names in ((), ("c",), ("c",), (), ("c", "r"), ("c", "r")):
        network.run_with(images(2), names)
    assert made == [{}, {"extra": ("c",)}, {"extra": ("c", "r")}]
