"""To whom parameters and arithmetic belong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph.naming import names
from lsa_audit.graph.ownership import NO_LAYERS, flop_counts, parameter_counts, unused

from .networks import Transformer
from .walking import all_layers, structure_of


class Scaled(nn.Module):
    """A scale behind the last layer, a relative-position table made by a linear layer, an idle parameter."""

    shape = (5, 4)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.table = nn.Linear(2, 4, bias=False)
        self.register_buffer("positions", torch.rand(5, 2))
        self.act = nn.ReLU()
        self.temperature = nn.Parameter(torch.ones(1))
        self.idle = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(x) + self.table(self.positions.expand(x.shape[0], -1, -1))
        return self.act(x).sum(1) * self.temperature


def test_parameters_without_a_layer_of_their_own_go_to_the_next_else_the_last():
    structure = structure_of(Scaled())
    found = all_layers(structure)
    counts, homeless = parameter_counts(structure, found)
    assert dict(zip(names(structure, found), counts, strict=True)) == {"fc": 20, "act": 8 + 1}
    assert [(name, count) for name, count, _ in homeless] == [("idle", 3)]
    (skipped,) = unused(homeless)
    assert (skipped.what, skipped.reason) == ("parameter idle", "parameter-unused")
    assert "3 parameters" in skipped.detail
    (outside,) = unused([("scale", 3, NO_LAYERS)])
    assert outside.reason == "parameter-outside-layers"


def test_arithmetic_on_a_table_counts_when_it_is_made_for_each_image():
    structure = structure_of(Scaled())
    found = all_layers(structure)
    assert dict(zip(names(structure, found), flop_counts(structure, found), strict=True)) == {
        "fc": 2 * 5 * 4 * 4,
        "act": 2 * 5 * 2 * 4,
    }


@pytest.mark.slow
def test_both_products_of_an_attention_belong_to_it():
    structure = structure_of(Transformer())
    found = all_layers(structure)
    spent = dict(zip(names(structure, found), flop_counts(structure, found), strict=True))
    assert spent["plain.softmax"] == spent["fused.scaled_dot_product_attention"] == 2 * (2 * 2 * 5 * 5 * 4)
    assert spent["plain.proj"] == 2 * 5 * 8 * 8


def test_a_model_without_layers_keeps_its_parameters_apart():
    class Bare(nn.Module):
        shape = (4,)

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    structure = structure_of(Bare())
    counts, homeless = parameter_counts(structure, [])
    assert counts == []
    assert homeless == [("scale", 4, "the model has no layers")]
