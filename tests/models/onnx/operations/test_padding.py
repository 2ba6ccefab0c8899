"""Padding against onnxruntime."""

from __future__ import annotations

import numpy
import pytest

from ..building import Case, check, floats, ints

CASES = [
    Case("Pad", opset=9, attributes={"pads": [0, 0, 1, 2, 0, 0, 2, 1], "value": 0.5}),
    Case("Pad", operands=[ints(0, 1, 1, 0, 0, 1, 0, 2), floats(low=0.5, high=0.5)], opset=11),
    Case("Pad", operands=[ints(0, 0, -1, 1, 0, 0, 1, -2)]),
    *[Case("Pad", operands=[ints(0, 1, 3, 2, 0, 0, 2, 1)], attributes={"mode": mode}) for mode in ("reflect", "edge")],
    Case("Pad", opset=9, attributes={"pads": [0, 0, 2, 1, 0, 0, 1, 2], "mode": "reflect"}),
    Case("Pad", operands=[ints(2, 1, 1, 2), None, ints(2, -1)], opset=18),
    Case("Pad", operands=[ints(0, 0, 2, 1, 0, 0, 1, 3)], opset=19, attributes={"mode": "wrap"}),
    Case("Pad", operands=[ints(0, 0, 1, 0, 0, 0, 0, 1), numpy.float32(-5)]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_padding(case):
    check(case)
