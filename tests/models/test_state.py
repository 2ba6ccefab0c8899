from __future__ import annotations

import random

import numpy
import pytest
import torch
from torch import nn

from lsa_audit.models.state import preserved


def busy() -> nn.Sequential:
    """Mixed training flags, frozen and unfrozen parameters, one with a gradient."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)).train()
    network[3].eval()
    network[0].bias.requires_grad_(False)
    network(torch.rand(5, 3)).sum().backward()
    return network


def everything(network: nn.Module) -> tuple[object, ...]:
    return (
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [None if parameter.grad is None else parameter.grad.tolist() for parameter in network.parameters()],
        [value.tolist() for value in network.state_dict().values()],
        random.getstate(),
        numpy.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


def disturb(network: nn.Module, fail: bool) -> None:
    with preserved(network) as inside:
        assert not any(module.training for module in inside.modules())
        assert not any(parameter.requires_grad for parameter in inside.parameters())
        assert all(parameter.grad is None for parameter in inside.parameters())
        images = torch.rand(5, 3, requires_grad=True)
        inside(images).sum().backward()
        assert images.grad is not None
        inside.train()
        inside(torch.rand(5, 3))
        random.random()  # noqa: S311 - no secret
        numpy.random.rand()
        if fail:
            raise RuntimeError


def test_everything_comes_back() -> None:
    network = busy()
    before = everything(network)
    disturb(network, fail=False)
    assert everything(network) == before


def test_everything_comes_back_after_an_exception() -> None:
    network = busy()
    before = everything(network)
    with pytest.raises(RuntimeError):
        disturb(network, fail=True)
    assert everything(network) == before
