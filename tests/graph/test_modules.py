"""Modules as layers, for models that are seen through hooks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lsa_audit.graph.modules import is_block, module_flops, module_kind, neuron_dim


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.Conv2d(1, 1, 1), "learnable"),
        (nn.LSTM(1, 1), "learnable"),
        (nn.Bilinear(1, 1, 1), "learnable"),
        (nn.BatchNorm2d(1), "norm"),
        (nn.MultiheadAttention(4, 2), "attention"),
        (nn.GELU(), "activation"),
        (nn.AdaptiveAvgPool2d(1), "pool"),
        (Own(), "block"),
        (nn.Dropout(), None),
        (nn.Sequential(nn.Linear(1, 1)), None),
    ],
)
def test_kinds(module: nn.Module, kind: str | None):
    assert module_kind(module) == kind


def test_a_block_is_a_child_of_a_sequence_with_a_learnable_and_another_layer():
    network = nn.ModuleDict({"layers": nn.Sequential(nn.Sequential()), "head": nn.Sequential()})
    assert is_block(network, "layers.0", ["learnable", "activation"])
    assert not is_block(network, "layers.0", ["learnable"])
    assert not is_block(network, "layers.0", ["norm", "activation"])
    assert not is_block(network, "head", ["learnable", "activation"])


@pytest.mark.parametrize(
    ("module", "before", "shape", "dim"),
    [
        (nn.Conv2d(3, 8, 1), None, (2, 8, 4, 4), 1),
        (nn.Linear(3, 8), None, (2, 5, 8), 2),
        (nn.Bilinear(3, 3, 8), None, (2, 8), 1),
        (nn.ReLU(), ((2, 5, 8), 2), (2, 5, 8), 2),
        (nn.MaxPool2d(2), ((2, 8, 4, 4), 1), (2, 8, 2, 2), 1),
        (nn.Flatten(), ((2, 8, 4, 4), 1), (2, 128), None),
        (nn.ReLU(), None, (2, 8), None),
    ],
)
def test_neurons(
    module: nn.Module, before: tuple[tuple[int, ...], int] | None, shape: tuple[int, ...], dim: int | None
):
    held = None if before is None else (torch.zeros(before[0]), before[1])
    assert neuron_dim(module, held, torch.zeros(shape)) == dim


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 5, 5)),
        (nn.Linear(4, 6), (2, 5, 4)),
    ],
)
def test_flops_equal_the_counter(module: nn.Module, shape: tuple[int, ...]):
    images = torch.rand(shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = module(images)
    assert module_flops(module, images.shape, output.shape) == counter.get_total_flops() > 0


def test_other_modules_cost_nothing():
    assert module_flops(nn.ReLU(), (2, 4), (2, 4)) == 0


def test_a_bilinear_module_costs_two_products():
    """torch's counter does not know it."""
    assert module_flops(nn.Bilinear(4, 3, 6), (2, 4), (2, 6)) == 2 * 2 * 6 * (4 * 3 + 3)
