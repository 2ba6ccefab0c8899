"""Along which dimension the neurons lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph.neurons import neuron_dims

from .walking import structure_of


class Body(nn.Module):
    shape = (3, 6, 6)

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)
        self.table = nn.Parameter(torch.rand(8, 5))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x), self.table).cos()


@pytest.mark.parametrize(
    ("function", "dim"),
    [
        (lambda x, t: x.relu(), 1),
        (lambda x, t: x.permute(0, 2, 3, 1), 3),
        (lambda x, t: x.transpose(1, -1), 3),
        (lambda x, t: x.transpose(2, 3), 1),
        (lambda x, t: x.flatten(2), 1),
        (lambda x, t: x.flatten(1), None),
        (lambda x, t: x.flatten(2).transpose(1, 2), 2),
        (lambda x, t: x.permute(0, 2, 3, 1).reshape(-1, 2, 3, 6, 8), 4),
        (lambda x, t: x.reshape(-1, 4, 2, 6, 6), None),
        (lambda x, t: x[:, None], 2),
        (lambda x, t: x.mean((2, 3)), 1),
        (lambda x, t: x.mean(1, keepdim=True), None),
        (lambda x, t: x.permute(0, 2, 3, 1).mean((1, 2)), 1),
        (lambda x, t: x[:, :, 0], 1),
        (lambda x, t: x * x.mean((2, 3), keepdim=True).sigmoid(), 1),
        (lambda x, t: torch.nn.functional.max_pool2d(x, 2), 1),
        (lambda x, t: x.permute(0, 2, 3, 1) @ t, 3),
        (lambda x, t: torch.einsum("nchw,cd->ndhw", x, t), 1),
        (lambda x, t: x @ x.transpose(2, 3), None),
    ],
)
def test_neurons_are_followed_or_given_up(function: Callable[[Tensor, Tensor], Tensor], dim: int | None):
    structure = structure_of(Body(function))
    (last,) = next(node for node in structure.graph.nodes if node.op == "output").all_input_nodes
    assert neuron_dims(structure).get(last) == dim
