"""Facts about graphs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph.structure import Call, operation

from .networks import SharedWeights, Transformer
from .walking import structure_of


class Standardised(nn.Module):
    """A weight made of a parameter and the batch size; a constant shaped like the input."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(2, 4))
        self.unread = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight - self.weight.mean(1, keepdim=True)) * 2
        return nn.functional.linear(x + torch.zeros_like(x) * self.unread, weight)


def test_dependence_on_the_input_and_sources_of_weights():
    structure = structure_of(Standardised())
    nodes = {operation(node): node for node in structure.graph.nodes if operation(node)}
    assert nodes["linear"] in structure.dependent
    assert nodes["zeros_like"] not in structure.dependent
    assert structure.parameters(nodes["linear"]) == ["network.weight"]
    assert structure.parameters(nodes["add"]) == ["network.unread"]
    assert structure.tensors(nodes["linear"]) == [nodes["add"]]
    assert structure.shapes[nodes["linear"]] == (structure.images, 2)
    assert structure.parameter("network.weight") is structure.module.network.weight


@pytest.mark.slow
def test_calls_are_told_apart_and_the_normalisation_is_outside():
    structure = structure_of(SharedWeights())
    linears = [structure.calls[node][-1] for node in structure.graph.nodes if operation(node) == "linear"]
    assert [call.path for call in linears] == ["same", "same", "one", "other"]
    assert len({call.key for call in linears}) == 4
    outside = [operation(node) for node in structure.dependent if node not in structure.calls]
    assert {"sub", "div"} <= set(outside)


@pytest.mark.slow
def test_submodules_are_found_by_call():
    structure = structure_of(Transformer())
    assert structure.submodule(Call("", "")) is structure.module.network
    assert structure.submodule(Call("", "fused.qkv")) is structure.module.network.fused.qkv
