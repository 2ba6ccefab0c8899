"""Pools against onnxruntime."""

from __future__ import annotations

import pytest

from ..building import Case, check

SETTINGS = [
    {"kernel_shape": [3, 3]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [0, 1, 2, 0]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 1, 1, 1]},
    {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1, "pads": [0, 0, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 4], "strides": [2, 3], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"},
    {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1, 1, 1, 1]},
]
CASES = [
    *[Case("MaxPool", opset=opset, attributes=settings) for opset in (11, 22) for settings in SETTINGS],
    *[
        Case("AveragePool", opset=19, attributes={**settings, "count_include_pad": counted})
        for settings in SETTINGS
        for counted in (0, 1)
    ],
    Case("AveragePool", opset=9, attributes={"kernel_shape": [3, 3], "pads": [1, 1, 0, 0]}),
    Case("MaxPool", shape=(3, 9), attributes={"kernel_shape": [3], "strides": [2], "pads": [0, 1]}),
    Case("AveragePool", shape=(2, 4, 5, 4), attributes={"kernel_shape": [2, 3, 2], "pads": [0, 1, 0, 1, 0, 1]}),
    Case("GlobalAveragePool"),
    Case("GlobalAveragePool", shape=(3, 9)),
    Case("GlobalMaxPool"),
    Case("GlobalLpPool", attributes={"p": 2}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_pools(case):
    check(case)
