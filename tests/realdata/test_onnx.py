"""The real ONNX files give the logits of the checkpoints from which they were made."""

from __future__ import annotations

import pytest
import torch

from lsa_audit.graph.walker import walk
from lsa_audit.models import ModelRequest, fit, load

from .test_networks import NETWORKS, read

pytestmark = pytest.mark.realdata

FILES = {
    "cifar_resnet20": ("resnet20", "cifar_resnet20.th", "cifar10/cifar10_test_first1000.npz"),
    "mnist_cnn_a_adv": ("mnist_cnn_a", "mnist_cnn_a_adv.model", "mnist/mnist_test.npz"),
}
CIFAR = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.slow_except("mnist_cnn_a_adv")
@pytest.mark.parametrize("name", FILES)
def test_logits_and_gradients_are_those_of_the_checkpoint(name, shared):
    pytest.importorskip("onnxruntime")
    factory, checkpoint, data = FILES[name]
    images, labels = read(shared / "data" / data, 100)
    settings = CIFAR if name.startswith("cifar") else {}
    models = [
        fit(load(request), images[:2])
        for request in (
            ModelRequest(str(shared / "models" / f"{name}.onnx"), **settings),
            ModelRequest(f"{NETWORKS}:{factory}", checkpoint=shared / "models" / checkpoint, **settings),
        )
    ]
    conversion = models[0].conversion
    assert conversion is not None
    assert conversion.parity is not None
    assert conversion.parity <= 1e-5
    logits, gradients = [], []
    for model in models:
        leaf = images.clone().requires_grad_()
        logits.append(model.module(leaf))
        gradients.append(torch.autograd.grad(torch.nn.functional.cross_entropy(logits[-1], labels), leaf)[0])
    largest = logits[1].abs().max()
    assert (logits[0] - logits[1]).abs().max() <= 1e-5 * largest
    # A folded batch norm moves a few activations across 0, so single gradients may differ.
    cosine = torch.nn.functional.cosine_similarity(*(gradient.flatten(1) for gradient in gradients))
    assert cosine.median() > 0.9999


@pytest.mark.slow
def test_a_walk_sees_every_layer_of_the_files(shared):
    layers = {}
    for name in FILES:
        model = load(ModelRequest(str(shared / "models" / f"{name}.onnx")))
        shape = model.preprocessing.input_shape
        images = torch.rand((3, *shape), generator=torch.Generator().manual_seed(0))
        graph = walk(fit(model, images), images)
        assert graph.info.skipped == ()
        layers[name] = [layer.info.kind for layer in graph.layers]
    assert layers["mnist_cnn_a_adv"] == [*["learnable", "activation"] * 3, "learnable"]
    kinds = layers["cifar_resnet20"]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        "activation": 19,
        "add": 9,
        "learnable": 20,
        "pool": 1,
    }


@pytest.mark.slow
def test_the_black_box_shows_the_same_layers(shared, monkeypatch):
    pytest.importorskip("onnxruntime")
    from lsa_audit.models import onnx
    from lsa_audit.models.onnx.operations.base import UnsupportedError

    def refuse(*arguments):
        raise UnsupportedError(("ai.onnx::Conv",))

    path = str(shared / "models" / "cifar_resnet20.onnx")
    images, _ = read(shared / "data/cifar10/cifar10_test_first1000.npz", 50)
    white = fit(load(ModelRequest(path, **CIFAR)), images[:2])
    monkeypatch.setattr(onnx, "import_graph", refuse)
    black = fit(load(ModelRequest(path, **CIFAR)), images[:2])
    with torch.no_grad():
        assert torch.allclose(black.module(images), white.module(images), atol=1e-4)
    seen, hidden = (walk(model, images[:3]).info.layers for model in (white, black))
    # Only the mean over the pixels is no layer of its own in the file.
    assert [(layer.kind, layer.output_shape, layer.parameters) for layer in hidden] == [
        (layer.kind, layer.output_shape, layer.parameters) for layer in seen if layer.kind != "pool"
    ]
