"""A network that ends in an activation is trained and audited through its logits; its file keeps the activation."""

from __future__ import annotations

from pathlib import Path

import numpy
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from lsa_audit import models
from lsa_audit.graph.training import Trainee
from lsa_audit.graph.walker import walk
from lsa_audit.harden.files import checked_file
from lsa_audit.models.fitting import fit
from lsa_audit.models.request import ModelRequest

IMAGES = torch.rand((8, 9), generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3), nn.Sigmoid()).eval()


def torchscript(folder: Path) -> ModelRequest:
    torch.jit.script(network()).save(str(folder / "net.pt"))
    return ModelRequest(str(folder / "net.pt"))


def exported(folder: Path) -> ModelRequest:
    program = torch.export.export(network(), (torch.zeros(2, 9),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, folder / "net.pt2")
    return ModelRequest(str(folder / "net.pt2"))


def in_onnx(folder: Path) -> ModelRequest:
    state = {name: value.numpy() for name, value in network().state_dict().items()}
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["a"], name="a", transB=1),
        helper.make_node("Relu", ["a"], ["b"], name="b"),
        helper.make_node("Gemm", ["b", "2.weight", "2.bias"], ["c"], name="c", transB=1),
        helper.make_node("Sigmoid", ["c"], ["p"], name="d"),
    ]
    ends = [[helper.make_tensor_value_info(name, 1, ["n", size])] for name, size in (("x", 9), ("p", 3))]
    graph = helper.make_graph(nodes, "net", *ends, [numpy_helper.from_array(v, k) for k, v in state.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "net.onnx")
    return ModelRequest(str(folder / "net.onnx"))


def run_torchscript(path: Path) -> Tensor:
    return torch.jit.load(path)(IMAGES)


def run_exported(path: Path) -> Tensor:
    return torch.export.load(path).module()(IMAGES)


def run_onnx(path: Path) -> Tensor:
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"x": IMAGES.numpy()})[0])


FORMATS = {
    "torchscript": (torchscript, run_torchscript),
    "exported": (exported, run_exported),
    "onnx": (in_onnx, run_onnx),
}


@pytest.mark.slow_except("exported")
@pytest.mark.parametrize(("make", "run"), FORMATS.values(), ids=FORMATS)
def test_the_written_file_keeps_its_sigmoid(make, run, tmp_path: Path) -> None:
    request = make(tmp_path)
    model = fit(models.load(request), IMAGES, 3)
    original = network()
    with torch.no_grad():
        assert torch.allclose(model.module(IMAGES), original[:3](IMAGES), atol=1e-6)
    trainee = Trainee(walk(model, IMAGES[:3]), model.module)
    optimiser = torch.optim.SGD(trainee.parameters, lr=0.5)
    for _ in range(3):
        optimiser.zero_grad()
        logits = trainee.forward(IMAGES, training=True).answer
        nn.functional.cross_entropy(logits, torch.arange(8) % 3).backward()
        optimiser.step()
    with torch.no_grad():
        trained = model.module(IMAGES)
        assert (trained - original[:3](IMAGES)).abs().max() > 0.05
        found = checked_file(model, request, IMAGES, "hardened")
        assert found.info.difference <= 1e-5
        (name,) = found.contents
        (tmp_path / name).write_bytes(found.contents[name])
        numpy.testing.assert_allclose(run(tmp_path / name).numpy(), trained.sigmoid().numpy(), atol=1e-6)
