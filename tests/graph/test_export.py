"""The exported graph computes what the module computes, at every batch size, from the module's own tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.graph.export import export, parameters_read
from lsa_audit.graph.replay import is_specialized
from lsa_audit.graph.structure import operation

from .networks import EXPORTED, Caching, Case, Residual, images_for, model_of, randomise


@pytest.mark.slow_except("Caching")
@pytest.mark.parametrize("case", EXPORTED, ids=lambda case: case.name)
def test_logits_are_the_same_at_other_batch_sizes(case: Case):
    network = randomise(case.network()).requires_grad_(False)
    module = model_of(network).module
    graph_module = export(module, images_for(network))
    for count in (1, 2, 5):
        images = images_for(network, count, seed=9)
        with torch.no_grad():
            (logits,) = torch.utils._pytree.tree_leaves(graph_module(images))
            assert torch.allclose(logits, module(images), rtol=1e-5, atol=1e-6)


def test_nothing_in_the_graph_writes_in_place():
    network = randomise(Residual()).requires_grad_(False)
    names = [operation(node) for node in export(model_of(network).module, images_for(network)).graph.nodes]
    assert "relu" in names
    assert not [name for name in names if name.endswith("_") and not name.startswith("_")]


@pytest.mark.slow
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


class Branching(nn.Module):
    """Chooses its way by values, in several ways of asking; fixes its batch size on request."""

    shape = (4,)

    def __init__(self, fixed: bool = False) -> None:
        super().__init__()
        self.low = nn.Linear(4, 3)
        self.high = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))
        self.fixed = fixed

    def forward(self, x: Tensor) -> Tensor:
        count = len(x) if self.fixed else x.shape[0]
        for _ in range(int(x.abs().max().ceil()) % 3 + 1):
            x = self.high(x)
        if x.sum() < -1e6 or torch.equal(x, x + 1) or x.min().item() > 1e6 or x[0].tolist() == []:
            x = -x
        return self.low(x.reshape(count, -1))


@pytest.mark.slow_except("False")
@pytest.mark.parametrize("fixed", [False, True])
def test_branches_on_values_are_followed_as_the_sample_takes_them(fixed: bool):
    network = randomise(Branching(fixed)).requires_grad_(False)
    module = model_of(network).module
    graph_module = export(module, images_for(network))
    assert is_specialized(graph_module)
    images = images_for(network, 5, seed=9)
    with torch.no_grad():
        assert torch.allclose(torch.utils._pytree.tree_leaves(graph_module(images))[0], module(images), atol=1e-6)
    reads = parameters_read(graph_module)
    assert {"network.low.weight", "network.high.0.weight"} <= set(reads)
    stacks = [node.meta["nn_module_stack"] for node in graph_module.graph.nodes if operation(node) == "relu"]
    assert stacks
    assert all("network.high.1" in [path for path, _ in stack.values()] for stack in stacks)


@pytest.mark.slow
def test_without_branches_nothing_is_specialised():
    network = randomise(Residual()).requires_grad_(False)
    assert not is_specialized(export(model_of(network).module, images_for(network)))


class Foreign(nn.Module):
    """Leaves torch, where no graph can follow."""

    shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 1e6:
            x = -x
        return self.fc(x) * float(x.detach().numpy().mean())


def test_what_leaves_torch_raises():
    network = randomise(Foreign()).requires_grad_(False)
    with pytest.raises(Exception, match="numpy"):
        export(model_of(network).module, images_for(network))
