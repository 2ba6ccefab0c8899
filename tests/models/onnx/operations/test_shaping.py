"""What moves values, against onnxruntime."""

from __future__ import annotations

import pytest

from ..building import Case, check, ints

CASES = [
    Case("Reshape", operands=[ints(-1, 126)]),
    Case("Reshape", operands=[ints(0, 3, -1)], opset=9),
    Case("Reshape", operands=[ints(-1, 7, 18)], opset=14, attributes={"allowzero": 1}),
    Case("Flatten"),
    Case("Flatten", opset=11, attributes={"axis": -3}),
    Case("Transpose", attributes={"perm": [0, 2, 3, 1]}),
    Case("Squeeze", shape=(3, 1, 7), operands=[ints(2)]),
    Case("Squeeze", shape=(3, 1, 7), opset=11, attributes={"axes": [2]}),
    Case("Unsqueeze", operands=[ints(1, -1)]),
    Case("Unsqueeze", opset=11, attributes={"axes": [1, 3]}),
    Case("Concat", operands=[], attributes={"axis": 1}),
    Case("Split", opset=11, attributes={"axis": 2, "split": [1, 2, 3]}, outputs=3),
    Case("Split", opset=13, operands=[ints(4, 2)], attributes={"axis": 2}, outputs=2),
    Case("Split", opset=13, attributes={"axis": 2}, outputs=3),
    Case("Split", opset=18, attributes={"axis": 3, "num_outputs": 3}, outputs=3),
    Case("Expand", shape=(3, 1, 7), operands=[ints(1, 3, 5, 7)]),
    Case("Expand", shape=(3, 1, 7), operands=[ints(5, 1)]),
    Case("Tile", operands=[ints(1, 2, 1, 3)]),
    Case("DepthToSpace", shape=(8, 3, 2), attributes={"blocksize": 2}),
    Case("DepthToSpace", shape=(8, 3, 2), attributes={"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", shape=(2, 6, 4), attributes={"blocksize": 2}),
    Case("Identity"),
    Case("Dropout", opset=9, outputs=2),
    Case("Dropout", opset=13),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_moving_values(case):
    check(case)
