"""The contestants of `benchmarks.harden`: ours, a hand-written loop and ART, each as seconds of each of its steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.attacks_scenes import NETWORKS
from lsa_audit.data import from_arrays
from lsa_audit.data.base import Dataset, InputSpec
from lsa_audit.graph.walker import walk
from lsa_audit.hardening.training.loop import Setup, train
from lsa_audit.models import ModelRequest, fit, from_module, load
from lsa_audit.progress import Silent
from lsa_audit.scanning.audit import walk_images
from lsa_audit.scanning.stages import on_device
from lsa_audit.settings.recipe import Recipe

SEED = 0
SHAPE, CLASSES = (3, 32, 32), 10
EPSILON, STEP_SIZE, STEPS, LR, MOMENTUM = 8 / 255, 2 / 255, 7, 0.01, 0.9
GAMMA = 0.1
EARLY, LATE = ("conv1", "layer1.0.conv1"), ("layer3.2.conv1", "layer3.2.conv2")
"""The first and the last two convolutions: of its clean forward AT-LR runs only what leads to its last layer."""
VALIDATION = 8
OURS, PLAIN, ART = "lsa-audit PGD-7", "plain loop PGD-7", "ART PGD-7"

Clock = Callable[[], float]


@dataclass(frozen=True)
class Scene:
    """What all contestants train: a network and its images, on a device.

    Attributes:
        data: so many whole batches.
        clock: gives seconds.
    """

    network: nn.Module
    data: Dataset
    batch_size: int
    device: torch.device
    clock: Clock = time.process_time

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Images [N, C, H, W] in [0, 1] and labels [N], on the device."""
        size = self.batch_size
        return [
            (self.data.images(start, start + size).to(self.device), self.data.labels[start : start + size])
            for start in range(0, len(self.data), size)
        ]


Contestant = Callable[[Scene], list[float]]
"""Seconds of each step that counts."""


class Stopwatch(Silent):
    """Reads the clock at the beginning of the epoch and after each step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._marks: list[float] = []

    def advance(self, units: int) -> None:  # noqa: ARG002
        """A step is done, or the epoch begins."""
        self._marks.append(self._clock())

    @property
    def steps(self) -> list[float]:
        """Seconds of each step but the first."""
        return [after - before for before, after in zip(self._marks[1:-1], self._marks[2:], strict=True)]


def ours(layers: Sequence[str] = (), **values: Any) -> Contestant:
    """The loop of this package, with AT-LR on the layers where some are named."""

    def run(scene: Scene) -> list[float]:
        recipe = Recipe(
            reg="atlr" if layers else "none",
            epsilon=EPSILON,
            step_size=STEP_SIZE,
            steps=STEPS,
            epochs=1,
            batch_size=scene.batch_size,
            lr=LR,
            momentum=MOMENTUM,
            schedule="none",
            validation_steps=1,
            **values,
        )
        images = walk_images(scene.data)
        model = fit(from_module(copy.deepcopy(scene.network)), images)
        model.module.eval()
        watch = Stopwatch(scene.clock)
        with on_device(model.module, scene.device):
            graph = walk(model, images.to(scene.device))
            gammas = dict.fromkeys(layers, GAMMA)
            train(Setup(model, graph, recipe, gammas, scene.data, dataset(VALIDATION, 1), scene.device), watch)
        return watch.steps

    return run


def plain(scene: Scene) -> list[float]:
    """The shortest loop: PGD in evaluation mode with the gradient of the input alone, one update in training mode."""
    network = copy.deepcopy(scene.network).to(scene.device)
    optimizer = torch.optim.SGD(network.parameters(), LR, MOMENTUM, nesterov=True, weight_decay=5e-4)
    seconds = []
    for images, labels in scene.batches():
        begin = scene.clock()
        network.eval()
        low, high = (images - EPSILON).clamp(min=0), (images + EPSILON).clamp(max=1)
        current = low + torch.rand_like(images) * (high - low)
        for _ in range(STEPS):
            current.requires_grad_(True)
            loss = functional.cross_entropy(network(current), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, current)
            current = torch.clamp(current.detach() + STEP_SIZE * gradient.sign(), low, high)
        network.train()
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(current), labels).backward()
        optimizer.step()
        seconds.append(scene.clock() - begin)
    return seconds[1:]


def art(scene: Scene) -> list[float]:
    """ART's AdversarialTrainer on attacked images alone, an epoch of all batches but one."""
    import numpy
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.defences.trainer import AdversarialTrainer
    from art.estimators.classification import PyTorchClassifier

    network = copy.deepcopy(scene.network)
    classifier = PyTorchClassifier(
        network,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(network.parameters(), LR, MOMENTUM, nesterov=True, weight_decay=5e-4),
        input_shape=SHAPE,
        nb_classes=CLASSES,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        classifier,
        norm=numpy.inf,
        eps=EPSILON,
        eps_step=STEP_SIZE,
        max_iter=STEPS,
        num_random_init=1,
        batch_size=scene.batch_size,
        verbose=False,
    )
    trainer = AdversarialTrainer(classifier, attack, ratio=1.0)
    batches = scene.batches()[1:]
    images, labels = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
    begin = scene.clock()
    trainer.fit(images, numpy.eye(CLASSES, dtype=numpy.float32)[labels], batch_size=scene.batch_size, nb_epochs=1)
    return [(scene.clock() - begin) / len(batches)] * len(batches)


def scene_of(batch_size: int, batches: int, device: torch.device) -> Scene:
    """A ResNet-20 with seeded weights and seeded random images."""
    network = load(ModelRequest(f"{NETWORKS}:resnet20", random_weights=True, seed=SEED)).module.network
    return Scene(network, dataset(batch_size * batches, SEED), batch_size, device)


def dataset(count: int, seed: int) -> Dataset:
    """Random images with random labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    return from_arrays(images, labels, InputSpec(SHAPE), name="random images")


CONTESTANTS: dict[str, Contestant] = {
    OURS: ours(),
    "lsa-audit PGD-7 + AT-LR, first two convolutions": ours(EARLY),
    "lsa-audit PGD-7 + AT-LR, last two convolutions": ours(LATE),
    PLAIN: plain,
    ART: art,
}
