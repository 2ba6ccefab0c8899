"""Arithmetic, comparisons and logic against onnxruntime."""

from __future__ import annotations

import numpy
import pytest
import torch

from lsa_audit.models.onnx.importer import import_graph

from ..building import Case, check, close, floats, model, node, runtime

FLOATS = floats(6, 7, low=0.2)
INTEGERS = numpy.array([-5, -2, 3, 4, 2, -3, 7], numpy.int64)
PLAIN = (
    "Abs",
    "Ceil",
    "Cos",
    "Cosh",
    "Exp",
    "Floor",
    "IsNaN",
    "Neg",
    "Reciprocal",
    "Round",
    "Sign",
    "Sin",
    "Sinh",
    "Tan",
)
CASES = [
    *[Case(op_type, scale=2.0) for op_type in PLAIN],
    *[Case(op_type) for op_type in ("Acos", "Asin", "Atan", "IsInf")],
    *[Case(op_type, operands=[FLOATS]) for op_type in ("Add", "Div", "Mul", "Sub", "Max", "Min", "Sum", "Mean")],
    *[Case(op_type, operands=[FLOATS], image=1, opset=9) for op_type in ("Add", "Div", "Mul", "Sub", "Max", "Min")],
    *[Case(op_type, operands=[floats(low=0.3, high=0.3)]) for op_type in ("Add", "Div", "Mul", "Sub", "Max", "Min")],
    *[Case(op_type, operands=[floats(low=0.3, high=0.3)], image=1) for op_type in ("Add", "Div", "Mul", "Sub", "Max")],
    *[Case(op_type, operands=[FLOATS]) for op_type in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")],
    Case("Sum", operands=[FLOATS, floats(3, 1, 1), floats(7)]),
    Case("Mean", operands=[FLOATS, floats(3, 1, 1), floats(7)]),
    Case("Pow", operands=[floats(low=2, high=2)]),
    Case("Pow", operands=[numpy.array(3, numpy.int64)]),
    Case("Pow", operands=[floats(7, low=0.5)], image=1),
    Case("Mod", operands=[floats(7, low=0.5)], attributes={"fmod": 1}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_arithmetic(case):
    check(case)


@pytest.mark.parametrize("op_type", ["Sqrt", "Log"])
def test_of_positive_numbers(op_type):
    proto = model(
        [node("Abs", ["images"], ["positive"]), node(op_type, ["positive"], ["logits"])], ["n", 5], output=["n", 5]
    )
    images = torch.rand(3, 5) + 0.1
    close(import_graph(proto).network(images).detach(), runtime(proto, images))


@pytest.mark.parametrize(
    ("op_type", "attributes"), [("Div", {}), ("Mod", {}), ("Mod", {"fmod": 1}), ("Add", {}), ("Mul", {}), ("Max", {})]
)
def test_of_integers(op_type, attributes):
    nodes = [
        node("Cast", ["images"], ["whole"], to=7),
        node(op_type, ["whole", "others"], ["made"], **attributes),
        node("Cast", ["made"], ["logits"], to=1),
    ]
    proto = model(nodes, ["n", 7], {"others": INTEGERS}, output=["n", 7])
    images = torch.tensor([[-7.0, 7, -7, 7, 9, 0, -1], [5, -5, 5, -5, 1, 2, 100]])
    assert torch.equal(import_graph(proto).network(images), runtime(proto, images))


@pytest.mark.parametrize("op_type", ["And", "Or", "Xor"])
def test_logic(op_type):
    nodes = [
        node("Greater", ["images", "zero"], ["positive"]),
        node("Less", ["images", "half"], ["small"]),
        node("Not", ["small"], ["large"]),
        node(op_type, ["positive", "large"], ["chosen"]),
        node("Where", ["chosen", "images", "zero"], ["logits"]),
    ]
    constants = {"zero": numpy.float32([0.0]), "half": numpy.float32(0.5)}
    proto = model(nodes, ["n", 9], constants, output=["n", 9])
    images = torch.linspace(-1, 1, 27).reshape(3, 9)
    assert torch.equal(import_graph(proto).network(images), runtime(proto, images))
