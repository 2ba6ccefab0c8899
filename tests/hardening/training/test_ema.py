"""Averaged weights by hand, and that lending them to the module changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lsa_audit.hardening.training.ema import Ema


def one(value: float) -> nn.Linear:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def test_three_steps_by_hand() -> None:
    network = one(1.0)
    ema = Ema(network, decay=0.15)
    average = 1.0
    for step, (value, decay) in enumerate([(2.0, 0.1), (3.0, 0.15), (5.0, 0.15)]):
        nn.init.constant_(network.weight, value)
        ema.update(step)
        average = decay * average + (1 - decay) * value
        with ema.swapped():
            assert network.weight.item() == pytest.approx(average, rel=1e-6)
        assert network.weight.item() == value


def test_float_buffers_are_averaged_and_counters_are_not() -> None:
    network = nn.BatchNorm1d(2)
    ema = Ema(network, decay=0.9)
    network.train()(torch.tensor([[0.0, 4.0], [2.0, 8.0]]))
    ema.update(0)
    assert set(ema.state()) == {"weight", "bias", "running_mean", "running_var"}
    with ema.swapped():
        torch.testing.assert_close(network.running_mean, torch.tensor([0.09, 0.54]))
        assert network.num_batches_tracked == 1


def test_the_module_is_as_it_was_after_an_error() -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 3)
    ema = Ema(network, decay=0.9)
    nn.init.normal_(network.weight)
    ema.update(0)
    before, averages = network.weight.detach().clone(), ema.state()["weight"].clone()

    def fail() -> None:
        with ema.swapped():
            assert torch.equal(network.weight, averages)
            raise RuntimeError("stop")

    assert not torch.equal(averages, before)
    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert torch.equal(network.weight, before)
    assert torch.equal(ema.state()["weight"], averages)


def test_a_state_goes_on_where_it_stood() -> None:
    network = one(1.0)
    ema = Ema(network, decay=0.9)
    nn.init.constant_(network.weight, 2.0)
    ema.update(0)
    other = Ema(network, decay=0.9)
    other.load(ema.state())
    ema.update(1)
    assert other.state()["weight"].item() == pytest.approx(1.9)
    other.update(1)
    assert torch.equal(other.state()["weight"], ema.state()["weight"])
