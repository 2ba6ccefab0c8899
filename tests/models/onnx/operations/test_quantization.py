"""Quantised operations against onnxruntime, and the gradient through their roundings."""

from __future__ import annotations

import numpy
import pytest
import torch

from lsa_audit.models.onnx.importer import import_graph

from ..building import close, floats, ints, model, node, runtime

SCALE = numpy.float32(0.02)
ZERO = numpy.uint8(128)
PER_CHANNEL = numpy.float32([0.02, 0.03, 0.05])


@pytest.mark.parametrize(
    ("scale", "zero_point", "attributes"),
    [
        (SCALE, ZERO, {}),
        (SCALE, numpy.int8(-3), {}),
        (SCALE, None, {}),
        (PER_CHANNEL, numpy.int8([0, 1, -2]), {"axis": 1}),
        (PER_CHANNEL, numpy.uint8([100, 128, 90]), {"axis": 1}),
    ],
    ids=str,
)
def test_there_and_back(scale, zero_point, attributes):
    operands = ["scale"] if zero_point is None else ["scale", "zero"]
    constants = {"scale": scale} if zero_point is None else {"scale": scale, "zero": zero_point}
    nodes = [
        node("QuantizeLinear", ["images", *operands], ["whole"], **attributes),
        node("DequantizeLinear", ["whole", *operands], ["back"], **attributes),
        node("Flatten", ["back"], ["logits"]),
    ]
    proto = model(nodes, ["n", 3, 8, 8], constants)
    imported = import_graph(proto)
    assert imported.straight_through == ("/whole",)
    images = (torch.rand(4, 3, 8, 8) * 2 - 1).requires_grad_()
    logits = imported.network(images)
    close(logits.detach(), runtime(proto, images.detach()))
    (gradient,) = torch.autograd.grad(logits.sum(), images)
    low, high = (
        (0, 255) if zero_point is None else (numpy.iinfo(zero_point.dtype).min, numpy.iinfo(zero_point.dtype).max)
    )
    zeros = torch.tensor(0 if zero_point is None else zero_point.astype(numpy.float32)).reshape(-1, 1, 1)
    steps = torch.round(images / torch.tensor(scale).reshape(-1, 1, 1)) + zeros
    assert torch.equal(gradient, ((steps >= low) & (steps <= high)).float())


def quantized_net() -> tuple[list, dict]:
    """Convolution and linear layer with int8 weights, between quantise and dequantise nodes."""
    weight = (floats(4, 3, 3, 3) * 127).astype(numpy.int8)
    dense = (floats(5, 4, seed=1) * 127).astype(numpy.int8)
    nodes = [
        node("QuantizeLinear", ["images", "scale", "zero"], ["q0"]),
        node("DequantizeLinear", ["q0", "scale", "zero"], ["d0"]),
        node("DequantizeLinear", ["conv.weight", "weight_scale", "weight_zero"], ["w"], axis=0),
        node("Conv", ["d0", "w", "conv.bias"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("QuantizeLinear", ["r", "scale", "zero"], ["q1"]),
        node("DequantizeLinear", ["q1", "scale", "zero"], ["d1"]),
        node("GlobalAveragePool", ["d1"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("DequantizeLinear", ["fc.weight", "scale"], ["f"]),
        node("Gemm", ["flat", "f"], ["logits"], transB=1),
    ]
    constants = {
        "scale": SCALE,
        "zero": numpy.uint8(10),
        "conv.weight": weight,
        "weight_scale": numpy.float32([0.01, 0.02, 0.03, 0.01]),
        "weight_zero": numpy.int8([0, 0, 1, 0]),
        "conv.bias": floats(4),
        "fc.weight": dense,
    }
    return nodes, constants


def test_a_quantised_network_and_its_gradient():
    proto = model(*_with_shape(quantized_net()), output=["n", 5])
    imported = import_graph(proto)
    assert imported.batch is None
    assert imported.straight_through == ("/q0", "/q1")
    assert {name for name, _ in imported.network.named_parameters()} == {"conv.weight", "conv.bias", "fc.weight"}
    images = torch.rand(3, 3, 8, 8, requires_grad=True)
    logits = imported.network(images)
    close(logits.detach(), runtime(proto, images.detach()))
    logits[:, 0].sum().backward()
    assert (images.grad != 0).any()
    assert all((parameter.grad != 0).any() for parameter in imported.network.parameters())


def _with_shape(parts: tuple[list, dict]) -> tuple[list, list, dict]:
    nodes, constants = parts
    return nodes, ["n", 3, 8, 8], constants


def test_operations_on_integers():
    weight = (floats(4, 3, 3, 3) * 127).astype(numpy.int8)
    dense = (floats(4 * 36, 6, seed=1) * 127).astype(numpy.int8)
    nodes = [
        node("QuantizeLinear", ["images", "scale", "zero"], ["q0"]),
        node(
            "QLinearConv",
            ["q0", "scale", "zero", "weight", "weight_scale", "weight_zero", "made_scale", "made_zero", "bias"],
            ["q1"],
        ),
        node("Flatten", ["q1"], ["flat"]),
        node(
            "QLinearMatMul",
            ["flat", "made_scale", "made_zero", "dense", "scale", "dense_zero", "last_scale", "made_zero"],
            ["q2"],
        ),
        node("DequantizeLinear", ["q2", "last_scale", "made_zero"], ["logits"]),
    ]
    constants = {
        "scale": SCALE,
        "zero": numpy.uint8(3),
        "weight": weight,
        "weight_scale": numpy.float32([0.01, 0.02, 0.03, 0.01]),
        "weight_zero": numpy.int8([0, 0, 0, 0]),
        "made_scale": numpy.float32(0.2),
        "made_zero": numpy.uint8(120),
        "bias": numpy.int32([5, -7, 300, 0]),
        "dense": dense,
        "dense_zero": numpy.int8(0),
        "last_scale": numpy.float32(1.5),
    }
    proto = model(nodes, ["n", 3, 8, 8], constants, output=["n", 6])
    images = torch.rand(3, 3, 8, 8, requires_grad=True)
    logits = import_graph(proto).network(images)
    steps = (logits - runtime(proto, images.detach())).abs() / 1.5
    assert steps.max() <= 1.001
    assert (steps > 0.5).float().mean() < 0.1
    logits.sum().backward()
    assert (images.grad != 0).any()


def test_sums_of_integers():
    nodes = [
        node("DynamicQuantizeLinear", ["images"], ["q", "scale", "zero"]),
        node("ConvInteger", ["q", "weight", "zero"], ["sums"]),
        node("Cast", ["sums"], ["number"], to=1),
        node("Mul", ["number", "scale"], ["scaled"]),
        node("DynamicQuantizeLinear", ["scaled"], ["q1", "scale1", "zero1"]),
        node("Reshape", ["q1", "shape"], ["flat"]),
        node("MatMulInteger", ["flat", "dense", "zero1"], ["products"]),
        node("Cast", ["products"], ["product"], to=1),
        node("Mul", ["product", "scale1"], ["logits"]),
    ]
    constants = {
        "weight": (floats(2, 3, 3, 3) * 127).astype(numpy.int8),
        "shape": ints(1, 72),
        "dense": (floats(72, 4, seed=1) * 127).astype(numpy.int8),
    }
    proto = model(nodes, [1, 3, 8, 8], constants, output=[1, 4])
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    logits = import_graph(proto).network(images)
    close(logits.detach(), runtime(proto, images.detach()), 2e-2)
    logits[:, 0].sum().backward()
    assert (images.grad != 0).any()
