"""Weights that are moved for one loss, and put back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lsa_audit.hardening.training.awp import perturbed


def test_weights_move_by_their_own_norm_along_the_gradient() -> None:
    weight, bias = nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, 4.0]])), nn.Parameter(torch.ones(2))
    gradients = [torch.tensor([[0.0, 6.0], [8.0, 0.0]]), torch.ones(2)]
    with perturbed([weight, bias], gradients, 0.1):
        torch.testing.assert_close(weight.detach(), torch.tensor([[3.0, 0.3], [0.4, 4.0]]))
        assert torch.equal(bias, torch.ones(2))
    assert torch.equal(weight, torch.tensor([[3.0, 0.0], [0.0, 4.0]]))


def test_the_loss_rises_inside_and_the_bits_are_back_outside() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    images, labels = torch.rand(10, 6), torch.arange(10) % 3
    parameters = list(network.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    loss = nn.functional.cross_entropy(network(images), labels)
    gradients = torch.autograd.grad(loss, parameters)
    with perturbed(parameters, gradients, 0.05):
        moved = nn.functional.cross_entropy(network(images), labels)
        moved.backward()
    assert moved > loss
    for parameter, original in zip(parameters, before, strict=True):
        assert torch.equal(parameter, original)
        assert parameter.grad is not None


def test_the_bits_are_back_after_an_error() -> None:
    weight = nn.Parameter(torch.eye(2))

    def fail() -> None:
        with perturbed([weight], [torch.ones(2, 2)], 0.1):
            assert not torch.equal(weight, torch.eye(2))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert torch.equal(weight, torch.eye(2))


def test_a_gradient_of_zero_moves_nothing() -> None:
    weight = nn.Parameter(torch.eye(2))
    with perturbed([weight], [torch.zeros(2, 2)], 0.1):
        assert torch.equal(weight, torch.eye(2))


def test_casts_that_autocast_holds_do_not_hide_the_move() -> None:
    torch.manual_seed(0)
    network, images = nn.Linear(6, 3), torch.rand(4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = network(images)
        with perturbed([network.weight], [torch.ones(3, 6)], 0.5):
            inside = network(images)
        after = network(images)
    assert (inside - before).abs().min() > 0.01
    assert torch.equal(after, before)
