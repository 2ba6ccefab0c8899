"""Networks that want their images in one way, and images in another, for the trial of other readings."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from lsa_audit.data import from_arrays
from lsa_audit.data.base import InputSpec
from lsa_audit.findings.plausibility import find
from lsa_audit.models import fit, from_module
from lsa_audit.records import Alternative, LabelInfo, Plausibility
from lsa_audit.scanning.plausibility import examine
from lsa_audit.scanning.stages import Evaluation

from ..reporting.builders import build

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLASSES, SIZE, COUNT = 4, 6, 240
ENOUGH = 10**6
DATASET = LabelInfo(source="dataset", reason="r")
ALL_STATED = {"mean": (0.0,), "std": (1.0,), "channel_order": "rgb", "layout": "nchw"}


class Nearest(nn.Module):
    """The class whose picture is nearest; pictures and images are as the network wants them."""

    def __init__(self, pictures: torch.Tensor) -> None:
        super().__init__()
        flat = pictures.flatten(1)
        self.linear = nn.Linear(flat.shape[1], len(flat))
        with torch.no_grad():
            self.linear.weight.copy_(flat)
            self.linear.bias.copy_(-(flat**2).sum(1) / 2)
        self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return self.linear(images.flatten(1))


def bright() -> torch.Tensor:
    """[4, 3, 6, 6]: the classes differ in brightness."""
    generator = torch.Generator().manual_seed(5)
    base = torch.linspace(0.2, 0.8, CLASSES)[:, None, None, None]
    return base + 0.2 * (torch.rand(CLASSES, 3, SIZE, SIZE, generator=generator) - 0.5)


def patterned() -> torch.Tensor:
    """[4, 3, 6, 6]: the classes differ in colours and places alone; each second one is the one before as BGR."""
    first = torch.rand(CLASSES // 2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(7))
    return torch.stack([first, first.flip(1)], dim=1).flatten(0, 1)


def data(pictures: torch.Tensor, count: int = COUNT) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    labels = torch.arange(count) % CLASSES
    noise = 0.05 * torch.randn(count, 3, SIZE, SIZE, generator=generator)
    return (pictures[labels] + noise).clamp(0, 1), labels


def normalised(images: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def on_imagenet(images: torch.Tensor) -> torch.Tensor:
    return normalised(images, *IMAGENET)


def trial(network, images, labels, passes=ENOUGH, source=DATASET, order=None, notes=(), **wanted):
    """What the trial says of a network, without the scan around it."""
    model = fit(from_module(network.eval(), **wanted), images[:2])
    dataset = from_arrays(images, labels, InputSpec())
    dataset = dataset if order is None else dataclasses.replace(dataset, class_order=order)
    model = dataclasses.replace(model, notes=notes) if notes else model
    with torch.no_grad():
        predictions = model.module(images).argmax(1)
    evaluation = Evaluation(model, dataset, labels, torch.device("cpu"), 64, predictions == labels)
    return examine(evaluation, source, predictions, passes)


def orders(found: Plausibility) -> list[Alternative]:
    return [entry for entry in found.alternatives if entry.reading == "class order"]


def told(found: Plausibility | None) -> list[str]:
    return [finding.message for finding in find(build(plausibility=found))]


WANTED = {
    "--mean .485,.456,.406 --std .229,.224,.225": (bright, on_imagenet),
    "--mean 0 --std 1/255": (bright, lambda images: images * 255),
    "--channel-order bgr": (patterned, lambda images: images.flip(1)),
    "--layout nhwc": (patterned, lambda images: images.permute(0, 2, 3, 1)),
}
