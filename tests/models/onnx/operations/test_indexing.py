"""What picks values out or puts them in, against onnxruntime."""

from __future__ import annotations

import numpy
import pytest
import torch

from lsa_audit.models.onnx.importer import import_graph

from ..building import Case, check, close, floats, ints, model, node, runtime

FAR = numpy.iinfo(numpy.int64).max
CASES = [
    Case("Slice", opset=9, attributes={"starts": [1, -3], "ends": [5, FAR], "axes": [2, 3]}),
    Case("Slice", operands=[ints(1, 0), ints(FAR, -1), ints(-1, 1), ints(2, 1)], opset=11),
    Case("Slice", operands=[ints(-1), ints(-FAR), ints(2), ints(-1)]),
    Case("Slice", operands=[ints(5, 4), ints(0, 0), ints(2, 3), ints(-2, -3)]),
    Case("Slice", operands=[ints(0, 1), ints(FAR, 2)]),
    Case("Gather", operands=[numpy.array(2, numpy.int64)], attributes={"axis": 2}),
    Case("Gather", operands=[numpy.array(-1, numpy.int64)], attributes={"axis": 2}),
    Case("Gather", operands=[ints(0, -1, 2, 2)], attributes={"axis": -1}),
    Case("Gather", operands=[numpy.array([[0, 1], [2, -1]], numpy.int64)], attributes={"axis": 1}),
    Case("Trilu"),
    Case("Trilu", operands=[numpy.array(-1, numpy.int64)], attributes={"upper": 0}),
    Case("Trilu", operands=[numpy.array(2, numpy.int64)]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_indexing(case):
    check(case)


def moved(nodes: list, constants: dict, shape: tuple[int, ...] = (4, 5), opset: int = 17) -> None:
    """Assert that nodes from the images to `made` are what onnxruntime makes of them."""
    nodes = [*nodes, node("Flatten", ["made"], ["logits"], axis=1)]
    proto = model(nodes, ["n", *shape], constants, opset)
    imported = import_graph(proto)
    for count in (1, 3):
        images = torch.rand(count, *shape)
        close(imported.network(images).detach(), runtime(proto, images))


PLACES = {
    1: [[[0, 1, 2, 3, 0], [1, 0, 3, 2, -1]]],
    2: [[[0, 1, 2, 3, 4], [4, 3, -3, 1, 0]]],
}


@pytest.mark.parametrize("axis", [1, 2])
def test_elements(axis):
    nodes = [
        node("Shape", ["images"], ["sizes"]),
        node("Gather", ["sizes", "first"], ["count"], axis=0),
        node("Concat", ["count", "tail"], ["target"], axis=0),
        node("Expand", ["places", "target"], ["all"]),
        node("GatherElements", ["images", "all"], ["picked"], axis=axis),
        node("Neg", ["picked"], ["negative"]),
        node("ScatterElements", ["images", "all", "negative"], ["made"], axis=axis),
    ]
    moved(nodes, {"first": ints(0), "tail": ints(2, 5), "places": numpy.array(PLACES[axis], numpy.int64)})


def test_coordinates():
    nodes = [
        node("Transpose", ["images"], ["first"], perm=[1, 2, 0]),
        node("GatherND", ["first", "places"], ["picked"]),
        node("ScatterND", ["first", "others", "picked"], ["put"]),
        node("Transpose", ["put"], ["made"], perm=[2, 0, 1]),
    ]
    constants = {
        "places": numpy.array([[0, 1], [3, 4], [-1, 0]], numpy.int64),
        "others": numpy.array([[2, 2], [0, 0], [1, -1]], numpy.int64),
    }
    moved(nodes, constants)


def test_coordinates_that_add_up():
    nodes = [
        node("Transpose", ["images"], ["first"], perm=[1, 2, 0]),
        node("GatherND", ["first", "places"], ["picked"]),
        node("ScatterND", ["first", "places", "picked"], ["put"], reduction="add"),
        node("Transpose", ["put"], ["made"], perm=[2, 0, 1]),
    ]
    moved(nodes, {"places": numpy.array([[0, 1], [3, 4], [0, 1]], numpy.int64)}, opset=16)


def test_coordinates_behind_a_shared_dimension():
    nodes = [
        node("GatherND", ["images", "places"], ["made"], batch_dims=1),
        node("Flatten", ["made"], ["logits"]),
    ]
    proto = model(nodes, [2, 4, 5], {"places": numpy.array([[[1, 2]], [[3, 0]]])})
    images = torch.rand(2, 4, 5)
    imported = import_graph(proto)
    assert imported.batch == 2
    close(imported.network(images), runtime(proto, images))


@pytest.mark.parametrize("axis", [-1, 1])
def test_one_hot(axis):
    nodes = [
        node("ArgMax", ["images"], ["best"], axis=2, keepdims=0),
        node("OneHot", ["best", "depth", "values"], ["hot"], axis=axis),
        node("Mul", ["hot", "scale"], ["made"]),
    ]
    moved(nodes, {"depth": ints(5), "values": floats(2), "scale": floats(low=2, high=2)})
