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
from lsa_audit.graph.training import TrainedGraph
from lsa_audit.graph.walker import walk
from lsa_audit.models.fitting import fit
from lsa_audit.models.request import ModelRequest
from lsa_audit.repairing.files import checked_file

IMAGES = torch.rand((8, 9), generator=torch.Generator().manual_seed(0))


class Rescaled(nn.Module):
    """2 sigmoid(z) - 1."""

    def forward(self, values: Tensor) -> Tensor:
        return 2 * torch.sigmoid(values) - 1


class Normalised(nn.Module):
    """Sigmoids that sum to 1."""

    def forward(self, values: Tensor) -> Tensor:
        made = torch.sigmoid(values)
        return made / made.sum(1, keepdim=True)


def network(end: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3), end).eval()


def torchscript(folder: Path, end: nn.Module) -> ModelRequest:
    torch.jit.script(network(end)).save(str(folder / "net.pt"))
    return ModelRequest(str(folder / "net.pt"))


def exported(folder: Path, end: nn.Module) -> ModelRequest:
    program = torch.export.export(network(end), (torch.zeros(2, 9),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, folder / "net.pt2")
    return ModelRequest(str(folder / "net.pt2"))


def node(kind: str, *names: str) -> onnx.NodeProto:
    *inputs, output = names
    return helper.make_node(kind, inputs, [output], name=output)


ENDS: dict[type[nn.Module], list[onnx.NodeProto]] = {
    nn.Sigmoid: [node("Sigmoid", "c", "p")],
    nn.Tanh: [node("Tanh", "c", "p")],
    Rescaled: [node("Sigmoid", "c", "s"), node("Mul", "two", "s", "d"), node("Sub", "d", "one", "p")],
    Normalised: [node("Sigmoid", "c", "s"), node("ReduceSum", "s", "axes", "d"), node("Div", "s", "d", "p")],
    nn.Hardsigmoid: [helper.make_node("HardSigmoid", ["c"], ["p"], name="p", alpha=1 / 6)],
    nn.Hardtanh: [node("Clip", "c", "minus", "one", "p")],
}
NUMBERS = {"one": 1.0, "two": 2.0, "minus": -1.0}


def in_onnx(folder: Path, end: nn.Module) -> ModelRequest:
    state = {name: value.numpy() for name, value in network(end).state_dict().items()}
    state |= {name: numpy.array(value, numpy.float32) for name, value in NUMBERS.items()}
    state["axes"] = numpy.array([1])
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["a"], name="a", transB=1),
        helper.make_node("Relu", ["a"], ["b"], name="b"),
        helper.make_node("Gemm", ["b", "2.weight", "2.bias"], ["c"], name="c", transB=1),
        *ENDS[type(end)],
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


@pytest.mark.parametrize("make", [make for make, _ in FORMATS.values()], ids=FORMATS)
@pytest.mark.parametrize("end", ENDS, ids=[end.__name__ for end in ENDS])
def test_a_file_is_attacked_through_what_is_in_front_of_its_last_activation(end, make, tmp_path: Path) -> None:
    model = fit(models.load(make(tmp_path, end())), IMAGES, 3)
    assert model.outputs.logits == "peeled"
    with torch.no_grad():
        values = network(end())[:3](IMAGES)
        expected = blended(values, end())
        assert torch.allclose(model.module(IMAGES), expected, atol=1e-5)


def blended(values: Tensor, end: nn.Module) -> Tensor:
    """What attacks see, by `saturating`: of what is flat a slope of 0.05 beside its own values, scaled to slope 1."""
    if isinstance(end, nn.Hardtanh | nn.Hardsigmoid):
        return 0.05 * values + 0.95 * end(values) * (6 if isinstance(end, nn.Hardsigmoid) else 1)
    return values


@pytest.mark.slow_except("Sigmoid-exported", "Normalised-onnx")
@pytest.mark.parametrize(("make", "run"), FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("end", list(ENDS)[:4], ids=[end.__name__ for end in list(ENDS)[:4]])
def test_the_written_file_keeps_its_last_activation(end, make, run, tmp_path: Path) -> None:
    request = make(tmp_path, end())
    model = fit(models.load(request), IMAGES, 3)
    original = network(end())
    trainee = TrainedGraph(walk(model, IMAGES[:3]), model.module)
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
        numpy.testing.assert_allclose(run(tmp_path / name).numpy(), end()(trained).numpy(), atol=1e-6)
