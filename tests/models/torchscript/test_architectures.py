"""Known architectures as TorchScript files compute what they compute as modules, under the same names."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from lsa_audit.graph.walker import walk
from lsa_audit.models.fitting import fit
from lsa_audit.models.module import from_module

from ...graph.networks import images_for, randomise
from .networks import loaded

pytestmark = pytest.mark.slow

TIMM = {
    "resnet18": 64,
    "mobilenetv3_small_100": 64,
    "efficientnet_b0": 64,
    "convnext_atto": 64,
    "vit_tiny_patch16_224": 224,
    "levit_128s": 224,
}
TORCHVISION = {"mobilenet_v3_small": 64, "shufflenet_v2_x0_5": 64, "vit_b_16": 224}


def made(name: str) -> nn.Module:
    if name in TIMM:
        network, size = timm.create_model(name, num_classes=10), TIMM[name]
    else:
        network, size = getattr(torchvision.models, name)(num_classes=10), TORCHVISION[name]
    network.shape = (3, size, size)
    return randomise(network)


@pytest.mark.parametrize("kind", ["traced", "scripted", "traced-frozen"])
@pytest.mark.parametrize("name", [*TIMM, *TORCHVISION])
def test_a_file_computes_what_the_architecture_does(name: str, kind: str, tmp_path: Path):
    torch.manual_seed(0)
    network = made(name)
    model = fit(loaded(network, kind, tmp_path), images_for(network, 3))
    assert model.conversion.parity <= 1e-5
    images, same = (images_for(network, 2, seed=1).requires_grad_() for _ in range(2))
    expected, found = network(images), model.module.network(same)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max()))
    expected.square().sum().backward()
    found.square().sum().backward()
    given, expected = (one.grad.flatten().double() / one.grad.norm() for one in (same, images))
    assert given @ expected > 0.9999
    if kind != "traced-frozen":
        assert [name for name, _ in model.module.network.named_parameters()] == [
            name for name, _ in network.named_parameters()
        ]


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100", "convnext_atto"])
def test_layers_are_those_of_the_architecture(name: str, tmp_path: Path):
    torch.manual_seed(0)
    network = made(name)
    model = fit(loaded(network, "traced", tmp_path), images_for(network, 3))
    images = images_for(network, 3, seed=2)
    assert walk(model, images).info.layers == walk(from_module(network), images).info.layers
