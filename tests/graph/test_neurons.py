"""Along which dimension the neurons lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph.neurons import neuron_dims
from lsa_audit.graph.structure import operation

from .walking import structure_of

CASES: list[tuple[Callable[[Tensor, Tensor], Tensor], int | None]] = [
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
]


class Bodies(nn.Module):
    """Every case behind a convolution of its own, marked by a cosine: one export does for all."""

    shape = (3, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(3, 8, 1) for _ in CASES)
        self.table = nn.Parameter(torch.rand(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        found = zip(self.convolutions, CASES, strict=True)
        made = [function(convolution(x), self.table).cos() for convolution, (function, _) in found]
        return torch.stack([value.flatten(1).sum(1) for value in made], dim=1)


@pytest.fixture(scope="module")
def followed() -> list[int | None]:
    """The dimension that is found for each case."""
    structure = structure_of(Bodies())
    marks = [node for node in structure.graph.nodes if operation(node) == "cos"]
    dims = neuron_dims(structure)
    return [dims.get(node) for node in marks]


@pytest.mark.parametrize("place", range(len(CASES)))
def test_neurons_are_followed_or_given_up(place: int, followed: list[int | None]):
    assert len(followed) == len(CASES)
    assert followed[place] == CASES[place][1]
