"""Activations and softmax against onnxruntime, at the opsets where they changed."""

from __future__ import annotations

import pytest

from ..building import Case, check, floats

CASES = [
    Case("Relu"),
    Case("Relu", opset=9),
    Case("LeakyRelu", attributes={"alpha": 0.2}),
    Case("PRelu", operands=[floats(3, 1, 1)]),
    Case("PRelu", operands=[floats(1)], opset=9),
    Case("PRelu", operands=[floats(7)]),
    Case("Elu", attributes={"alpha": 0.7}),
    Case("Selu"),
    Case("Selu", attributes={"alpha": 1.5, "gamma": 0.9}),
    Case("Celu", attributes={"alpha": 0.6}),
    Case("Gelu", opset=20, scale=3.0),
    Case("Gelu", opset=20, scale=3.0, attributes={"approximate": "tanh"}),
    Case("HardSigmoid", scale=4.0),
    Case("HardSigmoid", scale=4.0, attributes={"alpha": 1 / 6, "beta": 0.5}),
    Case("HardSwish", scale=4.0),
    Case("Sigmoid", scale=4.0),
    Case("Softplus", scale=30.0),
    Case("Softsign", scale=3.0),
    Case("Mish", opset=18, scale=3.0),
    Case("Swish", opset=24, scale=3.0, reference=True),
    Case("Swish", opset=24, scale=3.0, attributes={"alpha": 1.7}, reference=True),
    Case("Tanh"),
    Case("Erf", scale=2.0),
    Case("ThresholdedRelu", attributes={"alpha": 0.3}),
    Case("Shrink", attributes={"lambd": 0.4, "bias": 0.1}),
    Case("Clip", opset=9, attributes={"min": -0.3, "max": 0.4}),
    Case("Clip", opset=9, attributes={"max": 0.4}),
    Case("Clip", operands=[floats(low=-0.3, high=-0.3), floats(low=0.4, high=0.4)]),
    Case("Clip", operands=[None, floats(low=0.4, high=0.4)]),
    Case("Clip", operands=[floats(low=0, high=0), floats(low=6, high=6)], scale=9.0),
    *[Case("Softmax", opset=opset, attributes={"axis": axis}) for opset in (9, 11, 13) for axis in (1, 2, 3)],
    Case("Softmax", opset=9),
    Case("Softmax", opset=13),
    Case("Softmax", opset=11, attributes={"axis": -2}),
    Case("LogSoftmax", opset=11, attributes={"axis": 2}),
    Case("LogSoftmax", opset=13, attributes={"axis": 1}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_activations(case):
    check(case)
