"""Normalisations against onnxruntime."""

from __future__ import annotations

import math

import pytest
import torch

from lsa_audit.models.onnx.operations.base import Node
from lsa_audit.models.onnx.operations.normalization import local_response_norm

from ..building import Case, check, floats

POSITIVE = floats(3, low=0.5, high=1.5)
CASES = [
    Case("BatchNormalization", operands=[POSITIVE, floats(3), floats(3, seed=1), POSITIVE]),
    Case("BatchNormalization", operands=[POSITIVE, floats(3), floats(3, seed=1), POSITIVE], opset=9),
    Case("BatchNormalization", shape=(3,), operands=[POSITIVE, floats(3), floats(3, seed=1), POSITIVE]),
    Case("LayerNormalization", operands=[floats(7), floats(7, seed=1)]),
    Case("LayerNormalization", operands=[floats(6, 7)], attributes={"axis": -2, "epsilon": 1e-3}),
    Case("LayerNormalization", operands=[floats(7), floats(7, seed=1)], attributes={"axis": 2}, reference=True),
    Case("InstanceNormalization", operands=[floats(3), floats(3, seed=1)]),
    Case("GroupNormalization", (4, 5, 5), [floats(2), floats(2, seed=1)], 18, {"num_groups": 2}),
    Case("GroupNormalization", (4, 5, 5), [floats(4), floats(4, seed=1)], 21, {"num_groups": 2}),
    Case("RMSNormalization", operands=[floats(7)], opset=23, reference=True),
    Case("RMSNormalization", operands=[floats(6, 7)], opset=23, attributes={"axis": 2}, reference=True),
    Case("LRN", shape=(7, 4, 5), attributes={"size": 3, "alpha": 0.2, "beta": 0.6, "bias": 1.5}),
    Case("LpNormalization", attributes={"axis": 1, "p": 2}),
    Case("LpNormalization", attributes={"axis": -1, "p": 1}),
    Case("MeanVarianceNormalization", attributes={"axes": [2, 3]}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_normalisations(case):
    check(case)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_sums_over_neighbouring_channels(size):
    values = torch.rand(2, 7, 3, 2)
    found = local_response_norm(Node("", "LRN", 17, {"size": size, "alpha": 0.2}), values)
    for channel in range(7):
        first = max(0, channel - math.floor((size - 1) / 2))
        last = min(6, channel + math.ceil((size - 1) / 2))
        sums = values[:, first : last + 1].square().sum(1)
        torch.testing.assert_close(found[:, channel], values[:, channel] / (1 + 0.2 / size * sums) ** 0.75)
