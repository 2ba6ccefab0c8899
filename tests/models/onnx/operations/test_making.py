"""What makes values from numbers, and arithmetic on shapes, against onnxruntime."""

from __future__ import annotations

import numpy
import pytest
import torch
from onnx import TensorProto, helper

from lsa_audit.models.onnx.importer import import_graph

from ..building import Case, check, close, floats, ints, model, node, runtime

CASES = [
    Case("Cast", attributes={"to": TensorProto.INT32}, scale=3.0),
    Case("Cast", attributes={"to": TensorProto.DOUBLE}),
    Case("Cast", attributes={"to": TensorProto.BOOL}),
    Case("CastLike", operands=[ints(1)], scale=3.0),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_types(case):
    check(case)


def same(nodes: list, constants: dict, shape: tuple[int, ...] = (3, 6, 7), opset: int = 17) -> None:
    """Assert that the nodes are what onnxruntime makes of them, eagerly and exported, on several batch sizes."""
    proto = model(nodes, ["n", *shape], constants, opset)
    network = import_graph(proto).network
    exported = torch.export.export(
        network, (torch.rand(3, *shape),), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False
    ).module(check_guards=False)
    for count in (1, 2, 5):
        images = torch.rand(count, *shape)
        close(network(images).detach(), runtime(proto, images))
        if count > 1:
            close(exported(images).detach(), runtime(proto, images))


def test_a_shape_that_is_computed():
    nodes = [
        node("Shape", ["images"], ["sizes"]),
        node("Gather", ["sizes", "place"], ["count"], axis=0),
        node("Slice", ["sizes", "first", "last"], ["sides"]),
        node("ReduceProd", ["sides"], ["area"], keepdims=0),
        node("Mul", ["area", "two"], ["double"]),
        node("Div", ["double", "four"], ["half"]),
        node("Unsqueeze", ["count", "axis"], ["count_list"]),
        node("Unsqueeze", ["half", "axis"], ["half_list"]),
        node("Concat", ["count_list", "half_list", "rest"], ["target"], axis=0),
        node("Reshape", ["images", "target"], ["halves"]),
        node("Cast", ["area"], ["real"], to=1),
        node("Sqrt", ["real"], ["root"]),
        node("Div", ["halves", "root"], ["scaled"]),
        node("Flatten", ["scaled"], ["logits"]),
    ]
    constants = {
        "place": numpy.array(0),
        "first": ints(2),
        "last": ints(4),
        "two": numpy.array(2),
        "four": numpy.array(4),
        "axis": ints(0),
        "rest": ints(-1),
    }
    same(nodes, constants)


def test_a_token_for_each_image():
    nodes = [
        node("Shape", ["images"], ["count"], start=0, end=1),
        node("Concat", ["count", "free", "free"], ["wanted"], axis=0),
        node("Shape", ["wanted"], ["rank"]),
        node("ConstantOfShape", ["rank"], ["ones"], value=helper.make_tensor("", TensorProto.INT64, [1], [1])),
        node("Mul", ["ones", "free"], ["negative"]),
        node("Equal", ["wanted", "negative"], ["kept"]),
        node("Where", ["kept", "ones", "wanted"], ["target"]),
        node("Expand", ["token", "target"], ["tokens"]),
        node("Concat", ["tokens", "images"], ["all"], axis=1),
        node("Flatten", ["all"], ["logits"]),
    ]
    same(nodes, {"free": ints(-1), "token": floats(1, 1, 7)}, shape=(6, 7))


def test_tensors_made_from_shapes():
    nodes = [
        node("Shape", ["images"], ["sizes"]),
        node("ConstantOfShape", ["sizes"], ["filled"], value=helper.make_tensor("", TensorProto.FLOAT, [1], [0.5])),
        node("Gather", ["sizes", "last"], ["width"]),
        node("Range", ["zero", "width", "one"], ["places"]),
        node("Cast", ["places"], ["numbers"], to=1),
        node("Add", ["images", "numbers"], ["shifted"]),
        node("Mul", ["shifted", "filled"], ["scaled"]),
        node("Size", ["images"], ["all"]),
        node("Gather", ["sizes", "zero"], ["count"]),
        node("Div", ["all", "count"], ["each"]),
        node("Cast", ["each"], ["divisor"], to=1),
        node("Div", ["scaled", "divisor"], ["mean"]),
        node("Flatten", ["mean"], ["logits"]),
    ]
    constants = {"last": numpy.array(3), "zero": numpy.array(0), "one": numpy.array(1)}
    same(nodes, constants, shape=(2, 3, 40))


def test_shapes_split_and_joined():
    nodes = [
        node("Shape", ["images"], ["sizes"]),
        node("Split", ["sizes", "parts"], ["front", "behind"], axis=0),
        node("Max", ["behind", "four"], ["larger"]),
        node("Min", ["larger", "nine"], ["smaller"]),
        node("Sub", ["smaller", "behind"], ["missing"]),
        node("Concat", ["front_pads", "missing"], ["pads"], axis=0),
        node("Cast", ["pads"], ["amounts"], to=7),
        node("Pad", ["images", "amounts"], ["padded"]),
        node("Squeeze", ["front", "axis"], ["count"]),
        node("Reshape", ["count", "flat"], ["count_list"]),
        node("Concat", ["count_list", "flat"], ["target"], axis=0),
        node("Reshape", ["padded", "target"], ["logits"]),
    ]
    constants = {
        "parts": ints(1, 2),
        "four": ints(4),
        "nine": ints(9),
        "front_pads": ints(0, 0, 0, 0),
        "axis": ints(0),
        "flat": ints(-1),
    }
    same(nodes, constants, shape=(3, 7))


def test_an_identity_matrix():
    nodes = [
        node("EyeLike", ["square"], ["eye"], k=1, dtype=1),
        node("MatMul", ["images", "eye"], ["logits"]),
    ]
    same(nodes, {"square": floats(5, 5)}, shape=(5,))


def test_a_number_spread_over_a_shape():
    nodes = [
        node("Shape", ["images"], ["sizes"]),
        node("Expand", ["number", "sizes"], ["spread"]),
        node("CumSum", ["spread", "axis"], ["places"]),
        node("Add", ["images", "places"], ["sum"]),
        node("Flatten", ["sum"], ["logits"]),
    ]
    same(nodes, {"number": numpy.float32(0.5), "axis": numpy.array(2)}, shape=(3, 6))
