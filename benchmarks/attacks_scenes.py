"""What `benchmarks.attacks` attacks: a model, images and labels, and the radius of the linf ball."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy
import timm
import torch
from torch import Tensor, nn

from lsa_audit.models import ModelRequest, fit, load

PROJECT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("LSA_AUDIT_SHARED", PROJECT.parent / "shared"))
NETWORKS = PROJECT / "tests" / "realdata" / "networks.py"


@dataclass(frozen=True)
class Scene:
    """Module from pixels to logits, images [N, C, H, W] in [0, 1], labels [N], radius in pixel units."""

    module: nn.Module
    images: Tensor
    labels: Tensor
    epsilon: float

    def apart(self, count: int | None = None) -> Scene:
        """The first `count` images (None: all) with a copy of the module: no contestant sees what another left."""
        return replace(
            self, module=copy.deepcopy(self.module), images=self.images[:count].clone(), labels=self.labels[:count]
        )


@dataclass(frozen=True)
class Net:
    """Real trained weights of the shared folder; mean and std on pixels in [0, 1], None: pixels go in unchanged."""

    factory: str
    checkpoint: str
    data: str
    epsilon: float
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    samples: int = 200


NETS: dict[str, Net] = {
    "mnist_cnn_a_adv": Net("mnist_cnn_a", "mnist_cnn_a_adv.model", "mnist/mnist_test.npz", 0.3),
    "cifar_cnn_a_adv": Net(
        "cifar_cnn_a",
        "cifar_cnn_a_adv.model",
        "cifar10/cifar10_test_first1000.npz",
        2 / 255,
        (125.3 / 255, 123.0 / 255, 113.9 / 255),
        (63.0 / 255, 62.1 / 255, 66.7 / 255),
    ),
    "cifar_resnet20": Net(
        "resnet20",
        "cifar_resnet20.th",
        "cifar10/cifar10_test_first1000.npz",
        8 / 255,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        samples=100,
    ),
}


@dataclass(frozen=True)
class Subject:
    """One table of the report: an attack on a net.

    Attributes:
        net: a key of `NETS`; None: a ResNet-18 with seeded random weights.
        samples: images by default.
        warm_up: images of the call before the rounds; None: all.
    """

    attack: str
    net: str | None = None
    samples: int = 200
    warm_up: int | None = 2

    @property
    def name(self) -> str:
        return self.attack if self.net is None else f"{self.attack}/{self.net}"

    @property
    def title(self) -> str:
        net, epsilon = ("a random ResNet-18", 8 / 255) if self.net is None else (self.net, NETS[self.net].epsilon)
        return f"{self.attack} on {net}, linf {f'{epsilon:g}' if epsilon >= 0.1 else f'{255 * epsilon:g}/255'}"

    def scene(self, samples: int) -> Scene:
        """
        Raises:
            FileNotFoundError: the shared folder is not there.
        """
        return _random_resnet18(samples) if self.net is None else trained(NETS[self.net], samples)


SUBJECTS: dict[str, Subject] = {
    subject.name: subject
    for subject in (
        Subject("pgd", samples=64, warm_up=None),
        *(Subject(attack, net, samples=NETS[net].samples) for attack in ("apgd-ce", "autoattack") for net in NETS),
    )
}


def _random_resnet18(samples: int) -> Scene:
    """The labels are the model's own predictions, so that every image is right before."""
    torch.manual_seed(0)
    module = timm.create_model("resnet18", num_classes=10).eval()
    images = torch.rand(samples, 3, 32, 32)
    with torch.no_grad():
        return Scene(module, images, module(images).argmax(1), 8 / 255)


def trained(net: Net, samples: int) -> Scene:
    """The first images of the net's data.

    Raises:
        FileNotFoundError: the shared folder is not there.
    """
    with numpy.load(SHARED / "data" / net.data, allow_pickle=False) as arrays:
        pixels = torch.from_numpy(arrays["images"][:samples]).float() / 255
        labels = torch.from_numpy(arrays["labels"][:samples]).long()
    images = (pixels[:, None] if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2)).contiguous()
    checkpoint = SHARED / "models" / net.checkpoint
    request = ModelRequest(f"{NETWORKS}:{net.factory}", checkpoint, mean=net.mean, std=net.std)
    return Scene(fit(load(request), images[:4]).module, images, labels, net.epsilon)
