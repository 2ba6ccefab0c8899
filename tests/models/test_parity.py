from __future__ import annotations

import torch

from lsa_audit.models.parity import relative_difference


def test_difference_is_relative_to_the_largest():
    assert relative_difference(torch.tensor([1.0, -3.0]), torch.tensor([1.0, -4.0])) == 0.25
    assert relative_difference(torch.zeros(2), torch.zeros(2)) == 0
    assert relative_difference(torch.zeros(2), torch.zeros(3)) == float("inf")
