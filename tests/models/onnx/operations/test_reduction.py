"""Reductions, positions, sorting and accumulation against onnxruntime."""

from __future__ import annotations

import numpy
import pytest

from ..building import Case, check, ints

NAMES = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
NO_AXES = {"noop_with_empty_axes": 1}
CASES = [
    *[Case(f"Reduce{name}", opset=11, attributes={"axes": [2, 3]}) for name in NAMES],
    *[Case(f"Reduce{name}", opset=18, operands=[ints(1, -1)], attributes={"keepdims": 0}) for name in NAMES],
    Case("ReduceSum", opset=13, operands=[ints(1)]),
    Case("ReduceSum", opset=13, operands=[ints()], attributes=NO_AXES),
    Case("ReduceMean", opset=18, attributes=NO_AXES),
    Case("ReduceMean", opset=17, attributes={"axes": [-1], "keepdims": 0}),
    Case("ArgMax", attributes={"axis": 1}),
    Case("ArgMin", attributes={"axis": -1, "keepdims": 0}),
    Case("ArgMax", attributes={"axis": 2, "select_last_index": 1}),
    Case("TopK", opset=9, attributes={"k": 3}, outputs=2),
    Case("TopK", opset=11, operands=[ints(2)], attributes={"axis": 1, "largest": 0}, outputs=2),
    Case("CumSum", operands=[numpy.array(2, numpy.int64)]),
    Case("CumSum", operands=[ints(1)], attributes={"reverse": 1}),
    Case("CumSum", operands=[ints(-1)], attributes={"exclusive": 1}),
    Case("CumSum", operands=[ints(-1)], attributes={"exclusive": 1, "reverse": 1}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reductions(case):
    check(case)
