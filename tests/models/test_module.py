from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lsa_audit.errors import ModelError, UsageError
from lsa_audit.models import fit, from_module


def test_the_network_is_wrapped_and_not_touched() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)).train()
    network[0].eval()
    network[2].weight.requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    model = from_module(network, mean=(0.1, 0.2, 0.3), std=(0.5,), input_shape=(3, 8, 8))
    assert model.module.network is network
    assert [module.training for module in network.modules()] == [True, False, True, True]
    assert [parameter.requires_grad for parameter in network.parameters()] == [True, True, False, True]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert (model.name, model.source, model.weights) == ("Sequential", "module", "as given in memory")
    assert fit(model, torch.rand(2, 3, 8, 8)).classes == 5


def test_metadata_on_the_module_is_used() -> None:
    network = nn.Linear(4, 2)
    network.pretrained_cfg = {"mean": (0.2,), "std": (0.4,)}  # type: ignore[assignment]
    assert from_module(network, name="mine").preprocessing.mean == (0.2,)
    assert from_module(network, name="mine").name == "mine"


def test_bad_arguments() -> None:
    with pytest.raises(ModelError, match=r"is a function, not an nn\.Module"):
        from_module(lambda images: images)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"Linear: weight is on the meta device and holds no values"):
        from_module(nn.Linear(2, 2, device="meta"))
    with pytest.raises(ModelError, match=r"LazyLinear: weight has no size yet"):
        from_module(nn.LazyLinear(2))
    with pytest.raises(UsageError, match="without --std"):
        from_module(nn.Linear(2, 2), mean=(0.5,))
