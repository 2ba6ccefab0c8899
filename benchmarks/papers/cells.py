"""One cell of a reproduction: a setting with a seed, trained, audited, and kept as one JSON file."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import processor
from lsa_audit import models
from lsa_audit.data.held_out import part
from lsa_audit.device.ranks import Ranks
from lsa_audit.device.runtime import runtime
from lsa_audit.errors import ModelError
from lsa_audit.graph.walker import walk
from lsa_audit.hardening.training.loop import Setup, train
from lsa_audit.models.base import Model
from lsa_audit.progress import Progress, Silent
from lsa_audit.records import AuditRecord
from lsa_audit.records.hardening import TrainingLog
from lsa_audit.scanning.audit import Evidence, audit, make_profile, walk_images
from lsa_audit.scanning.stages import on_device
from lsa_audit.settings.recipe import Recipe, make_recipe
from lsa_audit.writing import write_whole

from .experiment import Experiment, Look, Parts, Setting

CELL_VERSION = 1

Cell = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """Where and how exactly a cell is computed."""

    device: str = "auto"
    threads: int | None = None
    precision: str = "float32"


class Messages(Silent):
    """Lines on stderr, each with the name of the cell."""

    def __init__(self, name: str) -> None:
        self._name = name

    def message(self, text: str) -> None:
        """One line."""
        print(f"{self._name}: {text}", file=sys.stderr, flush=True)


def fill(
    experiment: Experiment, parts: Parts, wanted: Iterable[tuple[Setting, int]], folder: Path, machine: Machine
) -> None:
    """Run the cells that are not there yet; each is written when it is complete.

    Raises:
        AuditError: the data, a layer name or the folder cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for setting, seed in wanted:
        path = folder / f"{setting.name}-{seed}.json"
        if path.exists():
            continue
        head = _head(experiment, setting, seed, machine)
        try:
            cell = {**head, **run(experiment, setting, seed, parts, machine)}
        except ModelError as error:
            cell = {**head, "failed": str(error)}
        write_whole(path, f"{json.dumps(cell)}\n".encode())


def run(experiment: Experiment, setting: Setting, seed: int, parts: Parts, machine: Machine) -> Cell:
    """Train one network and look at it.

    Raises:
        AuditError: the loss became NaN or infinite, or the data cannot be used.

    Random: everything in training follows from the seed; the audits draw the same for every seed.
    """
    progress = Messages(f"{experiment.name}, {setting.name}, seed {seed}")
    recipe = recipe_of(experiment, setting, seed, machine.precision)
    model = _model(experiment, setting, seed, parts)
    started = time.perf_counter()
    log = _trained(model, setting.gammas, recipe, parts, machine, progress)
    training_s = time.perf_counter() - started
    looks = []
    for look in experiment.looks():
        found = _looked(model, look, parts, machine)
        progress.message(f"{look.name} took {found['duration_s']:.0f} s")
        looks.append(found)
    return {"log": log.model_dump(mode="json"), "training_s": round(training_s, 1), "looks": looks}


def recipe_of(experiment: Experiment, setting: Setting, seed: int, precision: str) -> Recipe:
    """The recipe of a cell.

    Raises:
        ProfileError: the values do not fit together.
    """
    own = {**setting.recipe, "seed": seed, "precision": precision}
    return make_recipe({"experiment": experiment.recipe, "setting": own})


def read(folder: Path) -> list[Cell]:
    """All cells of a folder, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def _head(experiment: Experiment, setting: Setting, seed: int, machine: Machine) -> Cell:
    """What a cell is of."""
    return {
        "cell_version": CELL_VERSION,
        "experiment": experiment.name,
        "setting": setting.name,
        "seed": seed,
        "sizes": asdict(experiment.sizes),
        "recipe": recipe_of(experiment, setting, seed, machine.precision).model_dump(mode="json"),
        "gammas": dict(setting.gammas),
        "processor": processor(),
    }


def _model(experiment: Experiment, setting: Setting, seed: int, parts: Parts) -> Model:
    """With fresh weights, fitted to the data."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = setting.network()
    model = models.from_module(network.eval(), name=experiment.title, mean=experiment.mean, std=experiment.std)
    model.module.eval()
    return models.fit(model, walk_images(parts.training))


def _trained(
    model: Model, gammas: Mapping[str, float], recipe: Recipe, parts: Parts, machine: Machine, progress: Progress
) -> TrainingLog:
    """The model is left with the kept weights, on the CPU."""
    sample = walk_images(parts.training)
    with runtime(machine.device, machine.threads) as place, on_device(model.module, place.device):
        graph = walk(model, sample.to(place.device))
        setup = Setup(model, graph, recipe, gammas, parts.training, parts.validation, place.device, Ranks())
        return train(setup, progress)


def _looked(model: Model, look: Look, parts: Parts, machine: Machine) -> Cell:
    values = {
        "attacks": [dict(attack) for attack in look.attacks],
        "noises": [],
        "neurons": "none",
        "probes": [],
        "layers": look.layers,
        "samples": None,
        "device": machine.device,
        "threads": machine.threads,
    }
    images = part(parts.test, torch.arange(look.images), f"its first {look.images}")
    found = audit(model, make_profile({"reproduction": values}), images=images, progress=Silent())
    return summary(look.name, found.record, found.evidence)


def summary(name: str, record: AuditRecord, evidence: Evidence) -> Cell:
    """What a cell keeps of an audit: a 1 in `clean` and `robust` for each image that is right before, and after."""
    clean = evidence["clean_predictions"] == evidence["labels"]
    return {
        "name": name,
        "images": len(clean),
        "clean": _bits(clean),
        "verdicts": [
            {
                "attack": result.perturbation.name,
                "id": result.perturbation.id,
                "epsilon": result.perturbation.epsilon,
                "steps": result.perturbation.steps,
                "robust": _bits(clean & evidence[f"right/{result.perturbation.id}"]),
                "stages": [stage.model_dump(mode="json") for stage in result.stages],
            }
            for result in record.attacks
        ],
        "findings": [
            finding.model_dump(mode="json") for finding in record.findings if finding.group == "attack-health"
        ],
        "layers": [
            {
                "perturbation": measured.perturbation,
                "mvl": list(measured.mvl),
                "means": {layer.layer: layer.mean for layer in measured.layers},
            }
            for measured in record.sustainability
        ],
        "environment": record.environment.model_dump(mode="json"),
        "duration_s": round(record.timing.duration_s, 1),
    }


def _bits(flags: Any) -> str:
    return "".join("1" if flag else "0" for flag in flags.tolist())
