"""Splitting the batch dimension."""

from __future__ import annotations

import torch

from lsa_audit.graph.base import Layout, split_batch


def test_the_batch_is_split_without_a_copy():
    value = torch.arange(2 * 12 * 5).view(2, 12, 5)
    split = split_batch(value, Layout(1, 2), 3)
    assert split.shape == (2, 2, 3, 2, 5)
    assert split.data_ptr() == value.data_ptr()
    assert torch.equal(split[:, 1, 2, 0], value[:, 6 + 4])
