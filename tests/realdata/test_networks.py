"""The real weights give their known clean accuracies when they come in through the loaders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest
import torch
from torch import Tensor

from lsa_audit.models import ModelRequest, fit, load

NETWORKS = Path(__file__).with_name("networks.py")
CIFAR_CNN_A_MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
CIFAR_CNN_A_STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)

pytestmark = pytest.mark.realdata


@dataclass(frozen=True)
class Known:
    factory: str
    checkpoint: str
    data: str
    accuracy: float
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


KNOWN = [
    Known(
        "resnet20",
        "cifar_resnet20.th",
        "cifar10/cifar10_test_first1000.npz",
        0.915,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    ),
    Known("mnist_cnn_a", "mnist_cnn_a_adv.model", "mnist/mnist_test.npz", 0.956),
    Known(
        "cifar_cnn_a",
        "cifar_cnn_a_adv.model",
        "cifar10/cifar10_test_first1000.npz",
        0.664,
        CIFAR_CNN_A_MEAN,
        CIFAR_CNN_A_STD,
    ),
]


def read(path: Path, count: int) -> tuple[Tensor, Tensor]:
    with numpy.load(path, allow_pickle=False) as arrays:
        images = torch.from_numpy(arrays["images"][:count]).float() / 255
        labels = torch.from_numpy(arrays["labels"][:count]).long()
    return (images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)), labels


@pytest.mark.slow_except("mnist_cnn_a")
@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.factory)
def test_known_accuracy_reproduces(known: Known, shared: Path) -> None:
    images, labels = read(shared / "data" / known.data, 1000)
    checkpoint = shared / "models" / known.checkpoint
    spec = f"{NETWORKS}:{known.factory}"
    model = fit(load(ModelRequest(spec, checkpoint, mean=known.mean, std=known.std)), images[:4])
    with torch.no_grad():
        right = int((model.module(images).argmax(1) == labels).sum())
    assert right == round(known.accuracy * 1000)
    assert model.classes == 10
    assert model.weights == f"checkpoint {known.checkpoint}"


def test_a_wrong_normalisation_changes_the_figure(shared: Path) -> None:
    images, labels = read(shared / "data/mnist/mnist_test.npz", 1000)
    checkpoint = shared / "models/mnist_cnn_a_adv.model"
    model = load(ModelRequest(f"{NETWORKS}:mnist_cnn_a", checkpoint, mean=(0.1307,), std=(0.3081,)))
    with torch.no_grad():
        assert int((model.module(images).argmax(1) == labels).sum()) == 964


def test_timm_takes_the_shared_imagenet_weights(shared: Path) -> None:
    request = ModelRequest(
        "mobilenetv2_100",
        shared / "models/mobilenetv2_100_timm_padsame.pth",
        mean=(0.5,),
        std=(0.5,),
        arguments={"pad_type": "same"},
    )
    model = fit(load(request), torch.rand(1, 3, 224, 224))
    assert model.classes == 1000
    assert type(model.module.network.conv_stem).__name__ == "Conv2dSame"
    assert model.preprocessing.input_shape == (3, 224, 224)
    assert model.checkpoint_sha256 is not None
