"""The exported graph computes what the module computes, at every batch size, from the module's own tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph.export import export, parameters_read
from lsa_audit.graph.structure import operation

from .networks import EXPORTED, Caching, Case, DataDependent, Residual, images_for, model_of, randomise


@pytest.mark.parametrize("case", EXPORTED, ids=lambda case: case.name)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_logits_are_the_same_at_other_batch_sizes(case: Case, count: int):
    network = randomise(case.network()).requires_grad_(False)
    module = model_of(network).module
    graph_module = export(module, images_for(network))
    images = images_for(network, count, seed=9)
    with torch.no_grad():
        (logits,) = torch.utils._pytree.tree_leaves(graph_module(images))
        assert torch.allclose(logits, module(images), rtol=1e-5, atol=1e-6)


def test_nothing_in_the_graph_writes_in_place():
    network = randomise(Residual()).requires_grad_(False)
    names = [operation(node) for node in export(model_of(network).module, images_for(network)).graph.nodes]
    assert "relu" in names
    assert not [name for name in names if name.endswith("_") and not name.startswith("_")]


def test_a_cached_table_is_read_from_its_parameter():
    network = randomise(Caching()).requires_grad_(False)
    module = model_of(network).module
    with torch.no_grad():
        module(images_for(network))
    assert "network.bias_table" in parameters_read(export(module, images_for(network)))


class Constants(nn.Module):
    """A dictionary of tensors that is no cache: without it the forward fails."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)
        self.idle = nn.Parameter(torch.ones(1))
        self.tables = {"shift": torch.tensor([1.0, 2.0])}

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + self.tables["shift"]


def test_a_dictionary_that_is_no_cache_stays():
    network = randomise(Constants()).requires_grad_(False)
    module = model_of(network).module
    tables = network.tables
    graph_module = export(module, images_for(network))
    images = images_for(network, 2)
    with torch.no_grad():
        assert torch.allclose(torch.utils._pytree.tree_leaves(graph_module(images))[0], module(images))
    assert network.tables is tables
    assert list(tables) == ["shift"]


def test_control_flow_on_values_raises():
    network = randomise(DataDependent()).requires_grad_(False)
    with pytest.raises(Exception, match="data-dependent"):
        export(model_of(network).module, images_for(network))
