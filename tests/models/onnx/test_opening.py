"""Every layer of a file with a fixed batch has the value that onnxruntime computes for its node."""

from __future__ import annotations

import numpy
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

from lsa_audit.graph.taps import per_image, run
from lsa_audit.graph.walker import walk
from lsa_audit.models import load
from lsa_audit.models.onnx.inside import compare_inside
from lsa_audit.models.onnx.opening import opened
from lsa_audit.models.onnx.reading import read
from lsa_audit.models.request import ModelRequest
from lsa_audit.settings.limits import Limits

from .building import floats, ints, model, node, runtime

SIDE = 5
CONV = {"conv.weight": floats(3, 1, 3, 3, seed=1), "conv.bias": floats(3, seed=2)}


def _head(kind: str) -> tuple[list[onnx.NodeProto], dict[str, numpy.ndarray], str]:
    """Nodes from `flat` [N, 27] to `logits` [N, 4], their weights, and the tensor that the layer is."""
    weight, bias = floats(4, 27, seed=3), floats(4, seed=4)
    if kind == "gemm transB":
        return (
            [node("Gemm", ["flat", "w", "b"], ["logits"], name="/fc/Gemm", transB=1)],
            {"w": weight, "b": bias},
            "logits",
        )
    if kind == "gemm alpha beta":
        nodes = [node("Gemm", ["flat", "w", "b"], ["logits"], name="/fc/Gemm", alpha=0.5, beta=2.0)]
        return nodes, {"w": weight.T.copy(), "b": bias}, "logits"
    if kind == "gemm wide bias":
        nodes = [node("Gemm", ["flat", "w", "b"], ["logits"], name="/fc/Gemm", transB=1)]
        return nodes, {"w": weight, "b": bias[None]}, "logits"
    nodes = [node("MatMul", ["flat", "w"], ["p"], name="/fc/Gemm"), node("Add", ["b", "p"], ["logits"], name="/fc/Add")]
    return nodes, {"w": weight.T.copy(), "b": bias}, "logits"


def static(batch: int, kind: str) -> tuple[onnx.ModelProto, dict[str, str]]:
    """conv, relu, a reshape to [batch, -1], and a linear layer; the tensor of each layer by the layer's name."""
    nodes, weights, logits = _head(kind)
    first = [
        node("Conv", ["images", "conv.weight", "conv.bias"], ["c"], name="/conv/Conv"),
        node("Relu", ["c"], ["r"], name="/Relu"),
        node("Reshape", ["r", "to"], ["flat"], name="/Reshape"),
    ]
    constants = {**CONV, "to": ints(batch, -1), **weights}
    proto = model([*first, *nodes], (batch, 1, SIDE, SIDE), constants, output=(batch, 4))
    return proto, {"/conv/Conv": "c", "/Relu": "r", "/fc/Gemm": logits}


def tensors(proto: onnx.ModelProto, names: dict[str, str], images: Tensor, batch: int) -> dict[str, Tensor]:
    """What onnxruntime computes for them, in groups."""
    found = {}
    for layer, name in names.items():
        one = onnx.ModelProto()
        one.CopyFrom(proto)
        del one.graph.output[:]
        one.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        found[layer] = torch.cat([runtime(one, group).flatten(1) for group in images.split(batch)])
    return found


KINDS = ["gemm transB", "gemm alpha beta", "gemm wide bias", "matmul add"]
FAST = {("gemm transB", 1), ("matmul add", 2)}


@pytest.mark.slow_except("matmul add-2")
@pytest.mark.parametrize(
    ("kind", "batch"),
    [
        pytest.param(kind, batch, marks=() if (kind, batch) in FAST else pytest.mark.slow)
        for kind in KINDS
        for batch in (1, 2)
    ],
)
def test_every_layer_is_the_tensor_of_its_node(tmp_path, kind, batch):
    proto, names = static(batch, kind)
    path = tmp_path / "static.onnx"
    onnx.save(proto, path)
    loaded = load(ModelRequest(spec=str(path)))
    assert loaded.differentiable
    assert "values inside differ by at most" in loaded.conversion.parity_detail
    images = torch.rand((4, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    for parameter in loaded.module.parameters():
        parameter.requires_grad_(False)
    graph = walk(loaded, images)
    layers = {layer.info.name: layer for layer in graph.layers}
    seen: dict[str, Tensor] = {}

    def keeper(name: str):
        return lambda value: seen.update({name: per_image(layers[name], value, len(images))})

    run(graph, images, {name: keeper(name) for name in layers})
    expected = tensors(proto, names, images, batch)
    assert layers.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(seen[name], value, atol=1e-5 * float(value.abs().max())), name
    assert {name: layer.info.output_shape for name, layer in layers.items()} == {
        "/conv/Conv": (3, 3, 3),
        "/Relu": (3, 3, 3),
        "/fc/Gemm": (4,),
    }


def test_a_file_whose_images_mix_is_not_opened(tmp_path):
    nodes = [node("Reshape", ["images", "to"], ["flat"]), node("Softmax", ["flat"], ["s"], axis=1)]
    nodes.append(node("Reshape", ["s", "back"], ["logits"]))
    proto = model(nodes, (2, 6), {"to": ints(1, -1), "back": ints(2, -1)}, output=(2, 6))
    path = tmp_path / "mixing.onnx"
    onnx.save(proto, path)
    network = load(ModelRequest(spec=str(path), input_shape=(6,))).module.network
    images = torch.rand(4, 6)
    expected = torch.cat([runtime(proto, group) for group in images.split(2)])
    assert torch.allclose(network(images), expected, atol=1e-6)


def test_another_value_inside_is_found_although_the_logits_agree(tmp_path):
    proto, _ = static(2, "gemm transB")
    path = tmp_path / "static.onnx"
    onnx.save(proto, path)
    network = load(ModelRequest(spec=str(path))).module.network
    source = read(path, Limits())
    images = torch.rand((2, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    assert compare_inside(network, source, images, rounds=False).wrong == ""
    with torch.no_grad():
        network.get_parameter("conv.bias").add_(10.0)
        head = network.get_parameter("w").view(4, 3, 9).sum(2)
        network.get_parameter("b").sub_(10.0 * head.sum(1))
    assert compare_inside(network, source, images, rounds=False).wrong == "/conv/Conv"


def test_what_does_not_run_on_two_groups_has_no_open_plan():
    network = load_network(model([node("Add", ["images", "table"], ["logits"])], (2, 6), {"table": floats(2, 6)}))
    assert opened(network, [6], 2) is None


def load_network(proto: onnx.ModelProto):
    from lsa_audit.models.onnx.importer import import_graph

    return import_graph(proto).network
