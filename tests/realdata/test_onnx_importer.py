"""The real ONNX files give onnxruntime's logits, and those of the same weights in their own architecture."""

from __future__ import annotations

from pathlib import Path

import numpy
import onnx
import onnxruntime
import pytest
import torch

from lsa_audit.models import ModelRequest, load
from lsa_audit.models.onnx.importer import import_graph

pytestmark = pytest.mark.realdata

NETWORKS = Path(__file__).with_name("networks.py")
FILES = {
    "cifar_resnet20": ("resnet20", "cifar_resnet20.th", (3, 32, 32), 269_034),
    "mnist_cnn_a_adv": ("mnist_cnn_a", "mnist_cnn_a_adv.model", (1, 28, 28), 166_406),
}


@pytest.mark.parametrize("name", FILES)
def test_the_logits_are_those_of_the_runtime_and_of_the_architecture(name, shared):
    factory, checkpoint, shape, parameters = FILES[name]
    path = shared / "models" / f"{name}.onnx"
    imported = import_graph(onnx.load(path), path.name)
    request = ModelRequest(spec=f"{NETWORKS}:{factory}", checkpoint=shared / "models" / checkpoint)
    original = load(request).module.network
    images = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {imported.input_name: images.numpy()})
    largest = numpy.abs(expected).max()

    with torch.no_grad():
        logits = imported.network(images)
        assert numpy.abs(logits.numpy() - expected).max() <= 1e-5 * largest
        assert (logits - original(images)).abs().max() <= 1e-5 * largest
    assert sum(parameter.numel() for parameter in imported.network.parameters()) == parameters


@pytest.mark.parametrize("name", FILES)
def test_the_gradients_are_those_of_the_architecture(name, shared):
    factory, checkpoint, shape, _ = FILES[name]
    request = ModelRequest(spec=f"{NETWORKS}:{factory}", checkpoint=shared / "models" / checkpoint)
    networks = (
        load(request).module.network.double(),
        import_graph(onnx.load(shared / "models" / f"{name}.onnx")).network.double(),
    )
    gradients = []
    for network in networks:
        images = torch.rand(8, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        images.requires_grad_()
        network(images)[:, 0].sum().backward()
        gradients.append(images.grad.flatten())
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.9999
