"""Tiny trainings: run by tests in their own process, and by this file in ones that are killed, or several at once."""

from __future__ import annotations

import copy
import functools
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit import models
from lsa_audit.data.base import Dataset
from lsa_audit.device.ranks import Ranks, ranks
from lsa_audit.graph.base import Graph
from lsa_audit.graph.walker import walk
from lsa_audit.hardening.training.loop import Setup, train
from lsa_audit.models.base import Model
from lsa_audit.progress import Silent
from lsa_audit.records.hardening import TrainingLog
from lsa_audit.settings.recipe import Recipe

CPU = torch.device("cpu")
CLASSES, SIDE = 3, 8
EPOCHS, STEPS = 3, 4
"""Of every training here; 64 images in batches of 16."""
SMALL = {"epochs": EPOCHS, "batch_size": 16, "epsilon": 0.08, "lr": 0.02, "validation_steps": 3}

CUT: dict[str, tuple[dict[str, object], dict[str, float]]] = {
    "atlr": ({"at": "pgd", "steps": 2, "reg": "atlr", "clip_grad": 1.0}, {"conv1": 0.3, "conv2": 0.2}),
    "free": ({"at": "free", "steps": 2, "schedule": "multistep"}, {}),
    "everything": (
        {
            "at": "trades",
            "steps": 2,
            "awp": 0.01,
            "ema": 0.9,
            "augment": ("flip", "crop", "erase"),
            "optimizer": "adamw",
            "lr": 0.01,
            "warmup": 1.0,
            "epsilon_warmup": 1.0,
            "accumulate": 2,
        },
        {},
    ),
}
"""Trainings that are cut: settings and gammas."""
MOMENTS = (2, 5, 11, None)
"""The processes are killed after these steps, before the checkpoint of the step is written; None: between epochs."""
FEW = (("atlr", 5), ("free", None), ("everything", 11))
CUTS = {"few": FEW, "many": tuple((name, moment) for name in CUT for moment in MOMENTS if (name, moment) not in FEW)}

SHARED: dict[str, tuple[dict[str, object], dict[str, float]]] = {
    "atlr": ({"at": "pgd", "steps": 2, "reg": "atlr"}, {"conv1": 0.3, "conv2": 0.2}),
    "accumulate": ({"at": "pgd", "steps": 2, "accumulate": 2, "augment": ("flip", "erase")}, {}),
    "free": ({"at": "free", "steps": 2}, {}),
    "awp": ({"at": "fgsm", "awp": 0.01, "reg": "lad-lie"}, {"relu1": 0.0}),
}
"""Trainings that two processes share, without batch norms, which see only the images of their own process."""
NORMED = "normed"
"""One with them, which two processes share as well."""


class Constant(nn.Module):
    """All its numbers are buffers."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("weight", torch.randn(CLASSES, SIDE * SIDE, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 1, 8, 8] -> logits [N, 3]."""
        return functional.linear(images.flatten(1), self.weight)


def fresh(*, norm: bool, dropout: float) -> nn.Sequential:
    """Two convolutions and a linear layer, with random weights that are always the same."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {"conv1": nn.Conv2d(1, 4, 3, padding=1)}
    if norm:
        layers["norm"] = nn.BatchNorm2d(4)
    layers |= {"relu1": nn.ReLU(), "conv2": nn.Conv2d(4, 6, 3, stride=2, padding=1), "relu2": nn.ReLU()}
    layers["flat"] = nn.Flatten()
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    return nn.Sequential(OrderedDict(**layers, head=nn.Linear(96, CLASSES)))


@functools.cache
def _learned(norm: bool, dropout: float) -> nn.Sequential:
    made, data = fresh(norm=norm, dropout=dropout).train(), dataset(seed=2)
    optimizer = torch.optim.Adam(made.parameters(), 0.01)
    threads = torch.get_num_threads()
    # Tests ask for it while they are collected, and other processes must learn the same bits.
    torch.set_num_threads(1)
    for _ in range(25):
        optimizer.zero_grad()
        functional.cross_entropy(made((data.images(0, 64) - 0.5) / 0.25), data.labels).backward()
        optimizer.step()
    torch.set_num_threads(threads)
    optimizer.zero_grad()
    return made.eval()


def network(*, norm: bool = True, dropout: float = 0.2) -> nn.Sequential:
    """The same with the classes of `dataset` learnt, without attack; a copy of its own."""
    return copy.deepcopy(_learned(norm, dropout))


def dataset(count: int = 64, seed: int = 0, spread: float = 0.3) -> Dataset:
    """Noise around grey, with a bright column that tells the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = 0.5 + spread * (2 * torch.rand(count, 1, SIDE, SIDE, generator=generator) - 1)
    images[torch.arange(count), 0, :, 2 * labels + 1] += 0.25
    return Dataset(
        name="columns",
        source="arrays",
        interpretation="",
        selection=f"seed {seed}",
        transforms=(),
        pixels=(255 * images.clamp(0, 1)).round().to(torch.uint8),
        labels=labels,
        image_ids=tuple(f"{seed}-{place}" for place in range(count)),
        total=count,
        classes=CLASSES,
        class_names=(),
        largest_label=CLASSES - 1,
    )


def _walked(module: nn.Module) -> tuple[Model, Graph]:
    images = dataset().images(0, 3)
    model = models.fit(models.from_module(module, mean=(0.5,), std=(0.25,)), images[:2])
    return model, walk(model, images)


@functools.cache
def _own() -> tuple[Model, Graph]:
    return _walked(network())


def setup(
    settings: Mapping[str, object],
    gammas: Mapping[str, float] | None = None,
    *,
    own: nn.Module | None = None,
    training: Dataset | None = None,
    group: Ranks | None = None,
) -> Setup:
    """A training of a fresh small network, with the given recipe."""
    images, validation = training or dataset(), dataset(30, seed=1)
    model, graph = _walked(own.eval()) if own else copy.deepcopy(_own())
    recipe = Recipe(**{**SMALL, **settings})
    return Setup(model, graph, recipe, gammas or {}, images, validation, CPU, group or Ranks())


def weights(of: Setup) -> dict[str, Tensor]:
    """A copy of the weights as they are."""
    return {name: value.detach().clone() for name, value in of.model.module.state_dict().items()}


def run(
    settings: Mapping[str, object], gammas: Mapping[str, float] | None = None, **own: object
) -> tuple[TrainingLog, dict[str, Tensor]]:
    """Train without a folder: the log, and the weights that were left."""
    made = setup(settings, gammas, **own)  # type: ignore[arg-type]
    return train(made, Silent()), weights(made)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether the names and the bits are the same."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def untimed(log: TrainingLog) -> dict[str, object]:
    """All of a log but seconds, and how often it was taken up again."""
    return log.model_dump(exclude={"epochs": {"__all__": {"duration_s", "images_per_s"}}, "resumed": True})


class Failing(Silent):
    """Calls something after a step, an error unless told otherwise."""

    def __init__(self, step: int, what: Callable[[], object] | None = None) -> None:
        self.left, self.what = step, what or _stop

    def advance(self, units: int) -> None:
        """So many steps are done."""
        self.left -= units
        if self.left == 0:
            self.what()


def _stop() -> None:
    raise RuntimeError("stop")


class Doctor(Failing):
    """Changes the head of the network after a step, and keeps a copy of the weights before."""

    def __init__(self, made: Setup, step: int, change: Callable[[nn.Linear], object]) -> None:
        super().__init__(step, lambda: self._treat(made, change))
        self.before: dict[str, Tensor] = {}

    def _treat(self, made: Setup, change: Callable[[nn.Linear], object]) -> None:
        self.before = weights(made)
        with torch.no_grad():
            change(made.model.module.network.head)  # type: ignore[arg-type]


class Killer(Silent):
    """Kills its own process after a step, or after the first epoch's checkpoint."""

    def __init__(self, moment: int | None) -> None:
        self.left = moment

    def advance(self, units: int) -> None:
        """A step is done; 0 or several where an epoch is gone on with."""
        if self.left is not None and units == 1:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def message(self, text: str) -> None:
        """An epoch is over, and its checkpoint written."""
        if self.left is None and text.startswith("epoch 1 "):
            os.kill(os.getpid(), signal.SIGKILL)


def killed(folder: Path, name: str, moment: int | None) -> Path:
    """Where the checkpoint of that cut training lies; None: cut between the first two epochs."""
    return folder / f"{name}-{moment}"


def _kill(folder: Path, cuts: Iterable[tuple[str, int | None]]) -> None:
    """Start trainings in processes of their own, which kill themselves."""
    for name, moment in cuts:
        place = killed(folder, name, moment)
        place.mkdir()
        child = os.fork()
        if child == 0:
            settings, gammas = CUT[name]
            train(setup({**settings, "save_every": moment and 1}, gammas), Killer(moment), place)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            raise SystemExit(f"{place.name} was not killed: {status}")


def _share_all(folder: Path) -> None:
    """Train together with the other processes of torchrun's environment; each leaves what it ended with."""
    with ranks(CPU) as group:
        for name, (settings, gammas) in {**SHARED, NORMED: ({"at": "fgsm", "ema": 0.9}, {})}.items():
            place = folder / f"{name}-{group.rank}"
            place.mkdir()
            own = network(norm=name == NORMED, dropout=0.0)
            made = setup({"batch_size": 32, **settings}, gammas, own=own, group=group)
            log = train(made, Silent(), place)
            torch.save({"log": log.model_dump(), "weights": weights(made)}, folder / f"{name}-{group.rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "share":
        _share_all(Path(sys.argv[2]))
    else:
        _kill(Path(sys.argv[2]), CUTS[sys.argv[1]])
