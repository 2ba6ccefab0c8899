"""A layer of an ONNX file holds its bias, whatever form the file gives it: its value is onnxruntime's own tensor."""

from __future__ import annotations

from typing import Any

import numpy
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from lsa_audit.graph.base import Graph
from lsa_audit.graph.taps import per_image, run
from lsa_audit.graph.walker import walk
from lsa_audit.models import load
from lsa_audit.models.request import ModelRequest

from .building import close, floats, ints, model, node, runtime

WIDE = 6
Form = tuple[str, dict[str, Any], numpy.ndarray, int]
"""Operation, its attributes, the bias, and how many parameters the layer has with it."""


class Chain:
    """Layers one behind the other, each followed by a Relu, and the tensor that each should be."""

    def __init__(self, start: str) -> None:
        self.last = start
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, numpy.ndarray] = {}
        self.tensors: dict[str, str] = {}
        self.parameters: dict[str, int] = {}

    def add(self, name: str, nodes: list[onnx.NodeProto], constants: dict[str, numpy.ndarray], own: int) -> None:
        """Nodes from `in` to `out`; constants and inner values get the layer's name."""
        for one in nodes:
            renamed = [{"in": self.last}.get(value, f"{name}.{value}") for value in one.input]
            made = [f"{name}.{value}" for value in one.output]
            kept = helper.make_node(one.op_type, renamed, made, name=f"{name}.{one.name.strip('/')}")
            kept.attribute.extend(one.attribute)
            self.nodes.append(kept)
        self.constants |= {f"{name}.{key}": value for key, value in constants.items()}
        layer = f"{name}.layer"
        self.tensors[layer], self.parameters[layer] = f"{name}.out", own
        self.nodes.append(node("Relu", [f"{name}.out"], [f"{name}.positive"]))
        self.last = f"{name}.positive"


def _values(proto: onnx.ModelProto, tensors: dict[str, str], images: Tensor) -> dict[str, Tensor]:
    found = {}
    for layer, name in tensors.items():
        one = onnx.ModelProto()
        one.CopyFrom(proto)
        del one.graph.output[:]
        one.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        found[layer] = runtime(one, images)
    return found


def _compare(path: Any, chain: Chain, shape: tuple[int, ...]) -> Graph:
    out = {"h": floats(chain.constants.pop("inputs").item(), 3, seed=9)}
    nodes = [
        *chain.nodes,
        node("Flatten", [chain.last], ["flat"], axis=1),
        node("MatMul", ["flat", "h"], ["logits"], name="head"),
    ]
    proto = model(nodes, ("n", *shape), chain.constants | out)
    onnx.save(proto, path)
    images = torch.rand((4, *shape), generator=torch.Generator().manual_seed(0))
    loaded = load(ModelRequest(spec=str(path), input_shape=shape))
    for parameter in loaded.module.parameters():
        parameter.requires_grad_(False)
    graph = walk(loaded, images)
    assert graph.info.walker == "export"
    assert graph.info.skipped == ()
    layers = {layer.info.name: layer for layer in graph.layers}
    assert layers.keys() >= chain.tensors.keys()
    seen: dict[str, Tensor] = {}

    def keeper(name: str):
        return lambda value: seen.update({name: per_image(layers[name], value, len(images))})

    run(graph, images, {name: keeper(name) for name in chain.tensors})
    for name, value in _values(proto, chain.tensors, images).items():
        close(seen[name], value.flatten(1) if seen[name].dim() == 2 else value)
    assert {name: layers[name].info.parameters for name in chain.parameters} == chain.parameters
    return graph


def _gemm(bias: numpy.ndarray, **attributes: Any) -> tuple[list[onnx.NodeProto], dict[str, numpy.ndarray], int]:
    own = WIDE**2 + (bias.size if bias.ndim else 0)
    return (
        [node("Gemm", ["in", "w", "c"], ["out"], name="layer", **attributes)],
        {"w": floats(WIDE, WIDE, seed=bias.size), "c": bias},
        own,
    )


def _added(first: str, second: str, bias: numpy.ndarray, *extra: onnx.NodeProto, operation: str = "MatMul"):
    nodes = [
        node(operation, ["in", "w" if not extra else "weight"], ["p"], name="layer"),
        *extra,
        node("Add", [first, second], ["out"], name="add"),
    ]
    return nodes, {"w": floats(WIDE, WIDE, seed=3), "c": bias, "to": ints(1, -1)}, WIDE**2 + bias.size


def test_of_every_form_of_a_matrix_product(tmp_path):
    chain = Chain("images")
    chain.add("scalar", *_gemm(numpy.array(2.0, numpy.float32)))
    chain.add("one", *_gemm(floats(1), beta=0.5))
    chain.add("wide", *_gemm(floats(1, 1), alpha=2.0, transB=1))
    chain.add("row", *_gemm(floats(1, WIDE), beta=2.0))
    turned, constants, own = _gemm(numpy.array(-1.0, numpy.float32), transA=1, beta=2.0)
    turned[0].input[0] = "t"
    chain.add("turned", [node("Transpose", ["in"], ["t"], perm=[1, 0]), *turned], constants, own)
    chain.add("vector", *_added("p", "c", floats(WIDE), operation="Gemm"))
    chain.add("behind", *_added("p", "c", floats(1, WIDE)))
    chain.add("before", *_added("c", "p", floats(1, WIDE)))
    views = [node("Transpose", ["w"], ["weight"], perm=[1, 0]), node("Reshape", ["c", "to"], ["b"], name="view")]
    nodes, constants, own = _added("p", "b", floats(WIDE), *views)
    chain.add("viewed", [*views[:1], nodes[0], *views[1:], nodes[-1]], constants, own)
    chain.constants["inputs"] = numpy.array(WIDE)
    _compare(tmp_path / "matrices.onnx", chain, (WIDE,))


def test_of_every_form_of_a_convolution(tmp_path):
    chain = Chain("images")
    for name, operands, bias, operation in (
        ("four", ("p", "c"), floats(1, 4, 1, 1), "Conv"),
        ("three", ("c", "p"), floats(4, 1, 1), "Conv"),
        ("transposed", ("p", "c"), floats(1, 4, 1, 1), "ConvTranspose"),
    ):
        nodes = [
            node(operation, ["in", "w"], ["p"], name="layer", group=2, pads=[1, 1, 1, 1]),
            node("Add", operands, ["out"], name="add"),
        ]
        chain.add(name, nodes, {"w": floats(4, 2, 3, 3, seed=len(name)), "c": bias}, 4 * 2 * 9 + 4)
    chain.constants["inputs"] = numpy.array(4 * 5 * 5)
    graph = _compare(tmp_path / "convolutions.onnx", chain, (4, 5, 5))
    assert [layer.info.kind for layer in graph.layers] == ["learnable", "activation"] * 3 + ["learnable"]


def test_a_number_that_a_node_of_its_own_adds_to_a_product_is_no_part_of_it(tmp_path):
    chain = Chain("images")
    nodes = [node("MatMul", ["in", "w"], ["out"], name="layer"), node("Add", ["out", "c"], ["more"], name="add")]
    chain.add("plain", nodes, {"w": floats(WIDE, WIDE), "c": numpy.array(2.0, numpy.float32)}, WIDE**2)
    chain.nodes[-1].input[0] = "plain.more"
    chain.constants["inputs"] = numpy.array(WIDE)
    _compare(tmp_path / "shifted.onnx", chain, (WIDE,))
