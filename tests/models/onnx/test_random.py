"""ONNX files that draw random numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lsa_audit.errors import ExitCode, ModelError
from lsa_audit.models import ModelRequest, load

pytest.importorskip("onnxruntime")


def saved(folder: Path, *nodes: onnx.NodeProto) -> Path:
    weight = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
    constants = {"weight": weight, "half": np.float32(0.5), "on": np.array(True), "off": np.array(False)}
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["moved", "weight"], ["logits"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 12])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


NODES = {
    "RandomNormalLike": (
        helper.make_node("RandomNormalLike", ["x"], ["noise"]),
        helper.make_node("Add", ["x", "noise"], ["moved"]),
    ),
    "Dropout": (helper.make_node("Dropout", ["x", "half", "on"], ["moved"]),),
}


@pytest.mark.parametrize("operation", NODES)
def test_the_file_itself_is_called_random(tmp_path: Path, operation: str) -> None:
    with pytest.raises(ModelError, match=rf"net\.onnx itself is random: .* it holds {operation}") as caught:
        load(ModelRequest(str(saved(tmp_path, *NODES[operation]))))
    assert caught.value.exit_code == ExitCode.USAGE


def test_dropout_in_evaluation_is_not_random(tmp_path: Path) -> None:
    model = load(ModelRequest(str(saved(tmp_path, helper.make_node("Dropout", ["x", "half", "off"], ["moved"])))))
    assert model.differentiable
