"""Convolutions against onnxruntime."""

from __future__ import annotations

import pytest

from ..building import Case, check, floats

WEIGHT = floats(8, 3, 3, 3)
DEPTHWISE = floats(3, 1, 3, 2)
TRANSPOSED = floats(3, 4, 3, 3)
CASES = [
    Case("Conv", operands=[WEIGHT]),
    Case("Conv", operands=[WEIGHT, floats(8)], opset=9, attributes={"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    Case("Conv", operands=[WEIGHT], opset=22, attributes={"pads": [0, 1, 2, 0], "dilations": [2, 1]}),
    Case("Conv", operands=[WEIGHT], attributes={"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("Conv", operands=[WEIGHT], attributes={"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    Case("Conv", operands=[WEIGHT], attributes={"auto_pad": "VALID"}),
    Case("Conv", operands=[DEPTHWISE], attributes={"group": 3, "pads": [1, 0, 1, 1]}),
    Case("Conv", shape=(3, 9), operands=[floats(4, 3, 3)], attributes={"pads": [1, 1]}),
    Case("Conv", shape=(2, 4, 5, 4), operands=[floats(4, 2, 3, 3, 3)], attributes={"pads": [1] * 6}),
    Case("ConvTranspose", operands=[TRANSPOSED]),
    Case("ConvTranspose", operands=[TRANSPOSED, floats(4)], attributes={"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("ConvTranspose", operands=[TRANSPOSED], attributes={"strides": [2, 2], "output_padding": [1, 1]}),
    Case("ConvTranspose", operands=[TRANSPOSED], attributes={"strides": [2, 2], "pads": [0, 1, 1, 0]}),
    Case("ConvTranspose", operands=[TRANSPOSED, floats(4)], attributes={"strides": [2, 2], "pads": [0, 1, 1, 0]}),
    Case("ConvTranspose", operands=[TRANSPOSED], attributes={"strides": [2, 2], "output_shape": [12, 14]}),
    Case("ConvTranspose", operands=[TRANSPOSED], attributes={"strides": [3, 2], "auto_pad": "SAME_UPPER"}),
    Case("ConvTranspose", operands=[TRANSPOSED], attributes={"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    Case("ConvTranspose", operands=[floats(3, 2, 2, 2)], attributes={"group": 3, "dilations": [2, 1]}),
    Case("ConvTranspose", shape=(3, 9), operands=[floats(3, 2, 4)], attributes={"strides": [2]}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions(case):
    check(case)
