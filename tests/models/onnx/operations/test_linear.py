"""Matrix products against onnxruntime."""

from __future__ import annotations

import pytest

from ..building import Case, check, floats

SQUARE = (6, 7)
CASES = [
    Case("Gemm", shape=(7,), operands=[floats(7, 4)]),
    Case("Gemm", shape=(7,), operands=[floats(4, 7), floats(4)], attributes={"transB": 1}),
    Case(
        "Gemm", shape=(7,), operands=[floats(4, 7), floats(1, 4)], attributes={"transB": 1, "alpha": 0.3, "beta": 2.0}
    ),
    Case("Gemm", shape=(7,), operands=[floats(7, 4), floats()], opset=9),
    Case("MatMul", shape=SQUARE, operands=[floats(7, 4)]),
    Case("MatMul", shape=SQUARE, operands=[floats(5, 6)], image=1),
    Case("MatMul", shape=SQUARE, operands=[floats(7)]),
    Case("MatMul", shape=(3, 6, 7), operands=[floats(3, 7, 2)]),
    Case("Einsum", shape=SQUARE, operands=[floats(7, 4)], attributes={"equation": "nij, jk -> nki"}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_matrix_products(case):
    check(case)
