"""The real network as TorchScript is the one that its checkpoint and its factory make."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lsa_audit.graph.walker import walk
from lsa_audit.models import ModelRequest, fit, load, torchscript
from lsa_audit.models.base import Model
from lsa_audit.records import LayerInfo

from .test_networks import NETWORKS, read

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

pytestmark = pytest.mark.realdata


def rows(model: Model, images: torch.Tensor) -> list[LayerInfo]:
    """The layer table, without the names of the activations: the files were made with functional ones."""
    graph = walk(model, images)
    assert graph.info.walker == "export"
    assert graph.unassigned_parameters == 0
    return [
        layer.info.model_copy(update={"name": ""}) if layer.info.kind == "activation" else layer.info
        for layer in graph.layers
    ]


@pytest.mark.parametrize("kind", ["traced", "scripted"])
@pytest.mark.slow
def test_logits_gradients_and_layers_are_those_of_the_factory(kind: str, shared: Path):
    images, labels = read(shared / "data/cifar10/cifar10_test_first1000.npz", 64)
    made = ModelRequest(f"{NETWORKS}:resnet20", checkpoint=shared / "models/cifar_resnet20.th", mean=MEAN, std=STD)
    factory = fit(load(made), images)
    file = shared / f"models/cifar_resnet20_{kind}.pt"
    script = fit(torchscript.load(ModelRequest(str(file), mean=MEAN, std=STD)), images)
    assert script.conversion is not None
    assert script.conversion.parity is not None
    assert script.conversion.parity <= 1e-6
    given, same = images.clone().requires_grad_(), images.clone().requires_grad_()
    expected, found = factory.module(given), script.module(same)
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6 * float(expected.detach().abs().max()))
    loss = torch.nn.functional.cross_entropy
    loss(expected, labels).backward()
    loss(found, labels).backward()
    assert torch.allclose(same.grad, given.grad, rtol=1e-5, atol=1e-7)
    weights = dict(script.module.network.named_parameters())
    for name, parameter in factory.module.network.named_parameters():
        assert torch.equal(weights[name], parameter)
        assert torch.allclose(weights[name].grad, parameter.grad, rtol=1e-4, atol=1e-6), name
    assert weights.keys() == dict(factory.module.network.named_parameters()).keys()
    assert rows(script, images[:3]) == rows(factory, images[:3])
