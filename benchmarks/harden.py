"""`python -m benchmarks.harden`: the time of one training step, ours beside a hand-written loop and ART.

Each round calls every contestant once, in an order that turns from round to round, on the same images and a copy of the
same network (a CIFAR ResNet-20 with random weights), and takes the CPU time of its steps with one torch thread. A step
is PGD-7 on a batch and one update on what it found. Ours is the training loop of `lsa-audit harden`, whole; its first
step of a round, which prepares the graph, does not count. ART takes part where it can be imported:

    PYTHONPATH=.venv.bench python -m benchmarks.harden

Where there is a CUDA device, images a second in float32, in bf16 and compiled are measured too.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.attacks_scenes import NETWORKS
from benchmarks.machine import processor
from lsa_audit.audit import walk_images
from lsa_audit.data import from_arrays
from lsa_audit.data.base import Dataset, InputSpec
from lsa_audit.graph.walker import walk
from lsa_audit.harden.recipe import Recipe
from lsa_audit.harden.training.loop import Setup, train
from lsa_audit.models import ModelRequest, fit, from_module, load
from lsa_audit.progress import Silent
from lsa_audit.records import Environment
from lsa_audit.runtime import runtime
from lsa_audit.stages import on_device
from lsa_audit.writing import write_whole

SEED = 0
SHAPE, CLASSES = (3, 32, 32), 10
EPSILON, STEP_SIZE, STEPS, LR, MOMENTUM = 8 / 255, 2 / 255, 7, 0.01, 0.9
GAMMA = 0.1
EARLY, LATE = ("conv1", "layer1.0.conv1"), ("layer3.2.conv1", "layer3.2.conv2")
"""The first and the last two convolutions: of its clean forward AT-LR runs only what leads to its last layer."""
VALIDATION = 8
GOAL = 1.2
OURS, PLAIN, ART = "lsa-audit PGD-7", "plain loop PGD-7", "ART PGD-7"
FORMS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bf16": {"precision": "bf16"},
    "bf16, channels last": {"precision": "bf16", "channels_last": True},
    "float32, compiled": {"compile": True},
    "bf16, compiled": {"precision": "bf16", "compile": True},
}

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


CONTESTANTS: dict[str, Contestant] = {
    OURS: ours(),
    "lsa-audit PGD-7 + AT-LR, first two convolutions": ours(EARLY),
    "lsa-audit PGD-7 + AT-LR, last two convolutions": ours(LATE),
    PLAIN: plain,
    ART: art,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds and write speed.md and speed.json."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    absent: dict[str, str] = {}
    with runtime("cpu", 1) as place:
        present = _present(scene_of(options.batch_size, 2, place.device), absent)
        scene = scene_of(options.batch_size, options.steps + 1, place.device)
        rounds = [_round(scene, present, number) for number in range(options.rounds)]
        environment = place.environment()
    found = {
        "batch_size": options.batch_size,
        "steps": options.steps,
        "processor": processor(),
        "environment": environment.model_dump(mode="json"),
        "absent": absent,
        "cpu_s": rounds,
        "images_per_s": on_cuda(options.cuda_batch_size) if torch.cuda.is_available() else None,
    }
    write_whole(options.out / "speed.json", f"{json.dumps(found, indent=1)}\n".encode())
    write_whole(options.out / "speed.md", document(found, environment).encode())
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harden", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="that count, a round and contestant")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--cuda-batch-size", type=int, default=512)
    parser.add_argument("--out", type=Path, default=Path("reports/harden"))
    return parser.parse_args(arguments)


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


def _present(scene: Scene, absent: dict[str, str]) -> dict[str, Contestant]:
    """Those that work, each warmed up; why a peer does not goes into `absent`."""
    present = {}
    for name, contestant in CONTESTANTS.items():
        try:
            contestant(scene)
        except Exception as error:
            if name != ART:
                raise
            # A peer may fail in any way on today's libraries; the others are compared all the same.
            absent[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            _say(f"{name} takes no part: {absent[name]}")
            continue
        present[name] = contestant
    return present


def _round(scene: Scene, present: Mapping[str, Contestant], number: int) -> dict[str, float]:
    """Seconds of a step by contestant; the order turns by one place a round."""
    names = list(present)
    turn = number % len(names)
    found = {}
    for name in names[turn:] + names[:turn]:
        torch.manual_seed(SEED)
        found[name] = median(present[name](scene))
        _say(f"round {number + 1}: {name} {found[name]:.3f} s")
    return found


def on_cuda(batch_size: int, steps: int = 10) -> dict[str, dict[str, float]]:
    """Images a second on the GPU, by form; wall time, the device waited for."""

    def clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    with runtime("cuda", None) as place:
        return speeds(replace(scene_of(batch_size, steps + 1, place.device), clock=clock), FORMS)


def speeds(scene: Scene, forms: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Form -> images a second of PGD-7 alone and with AT-LR on the first two convolutions."""
    found: dict[str, dict[str, float]] = {}
    for form, values in forms.items():
        found[form] = {}
        for name, layers in (("PGD-7", ()), ("PGD-7 + AT-LR", EARLY)):
            found[form][name] = scene.batch_size / median(ours(layers, **values)(scene))
            _say(f"{scene.device.type}, {form}, {name}: {found[form][name]:.0f} images/s")
    return found


def document(found: Mapping[str, Any], environment: Environment) -> str:
    """The page."""
    rounds = found["cpu_s"]
    packages = ", ".join(f"{name} {version}" for name, version in environment.packages.items())
    lines = [
        "# One step of adversarial training",
        "",
        "    PYTHONPATH=.venv.bench python -m benchmarks.harden",
        "",
        f"CIFAR ResNet-20, random weights and images, batches of {found['batch_size']}, one thread; CPU seconds of a "
        f"step, median (smallest to largest) over {len(rounds)} interleaved rounds of {found['steps']} steps. Ratios "
        "are taken within each round.",
        "",
        f"{found['processor']}; {environment.platform}, Python {environment.python}; {packages}",
        "",
        f"| contestant | CPU s a step | to {OURS} | to the {PLAIN} |",
        "|---|---|---|---|",
    ]
    for name in rounds[0]:
        cells = [_spread([one[name] for one in rounds])]
        cells += [_spread([one[name] / one[other] for one in rounds]) for other in (OURS, PLAIN)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [f"| {name} | takes no part: {why} | | |" for name, why in found["absent"].items()]
    lines.append("")
    for name in (name for name in rounds[0] if "AT-LR" in name):
        ratio = median(one[name] / one[OURS] for one in rounds)
        lines += [f"{name}: {ratio:.2f} times {OURS}; the goal of at most {GOAL} is {_met(ratio)}.", ""]
    if found["images_per_s"] is None:
        return "\n".join([*lines, "No CUDA device: images a second were not measured.", ""])
    lines += ["| on CUDA, images a second | PGD-7 | PGD-7 + AT-LR |", "|---|---|---|"]
    for form, speeds in found["images_per_s"].items():
        lines.append(f"| {form} | {' | '.join(f'{speed:.0f}' for speed in speeds.values())} |")
    return "\n".join([*lines, ""])


def _met(ratio: float) -> str:
    return "met" if ratio <= GOAL else "missed"


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
