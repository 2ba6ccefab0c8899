"""Repairs a scanned model: fragile neurons up, robust ones down, in its own weights and file format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import __version__
from ..data.base import Dataset
from ..data.base import describe as describe_data
from ..data.held_out import is_same_data, split, wanted
from ..data.labels import choose_labels
from ..device.clock import Clock
from ..device.runtime import Runtime, default_batch_size, runtime
from ..errors import DataError, ModelError, UsageError
from ..graph.base import Graph
from ..graph.select import select
from ..graph.walker import walk
from ..models.base import Model, weights_sha256
from ..models.base import describe as describe_model
from ..models.failures import forward_failures
from ..models.request import ModelRequest
from ..models.state import preserved
from ..progress import Progress
from ..records import AuditRecord, LabelInfo, Perturbation, Skipped
from ..records.repair import Change, Outcome, Repair, Strengths
from ..runs.reading import DAMAGED_HINT, stored
from ..scanning.loading import WALK_IMAGES, load, model_request
from ..scanning.stages import Evaluation, make_runner, on_device
from ..settings.profile import Profile
from .attacks import Judge, planned
from .choice import best, try_all
from .files import ModelFile, checked_file, fitted_to_file
from .outcome import CLEAN, compare, settle
from .scaling import UNCHANGED, Fold, folds, scaled, without_logits

COMPARED_IMAGES = 100
SHOWN = 3


@dataclass(frozen=True)
class RepairRequest:
    """What the command line asks of a repair.

    Attributes:
        layers: which of the scanned layers to scale, as `scan --layers` names them; None: all but the one that gives
            the logits.
        max_clean_drop: share of the images that may be lost without an attack, 0..1.
        samples: held-out images; None: up to 1,300.
        attacks: names; the first one chooses the strengths, all of them judge. Empty: pgd and cascade.
        passes: of cascade; None: the scan's, else 600.
        seed: of the held-out images and of the attacks.
    """

    layers: str | None = None
    max_clean_drop: float = 0.01
    samples: int | None = None
    attacks: tuple[str, ...] = ()
    passes: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Repaired:
    """The record of a repair, and the model file; None where no strength helped."""

    record: Repair
    file: ModelFile | None


@forward_failures()
def repair(
    record: AuditRecord,
    evidence: Mapping[str, NDArray[Any]],
    profile: Profile,
    subject: str,
    repair_request: RepairRequest,
    progress: Progress,
) -> Repaired:
    """Choose how strongly to scale the neurons, judge the result on other images, and pack the model again.

    Args:
        record, evidence: a run, as `read_run` reads it.
        profile: the settings of the run.
        subject: the model that was scanned.

    Raises:
        UsageError: the run has no neuron tables, it is of another model, or it used all images.
        AuditError: model or data cannot be loaded, or the file cannot hold the change.

    Cost: for each of up to 16 pairs of strengths a forward and the first attack on the images that choose; every attack
    twice on those that judge. Random: everything follows from the seed.
    """
    clock = Clock()
    attacks = planned(record, profile, repair_request.attacks, repair_request.passes)
    with torch.inference_mode(False), runtime(profile.device, profile.threads) as place:
        progress.stage("load and walk", 0)
        model, parts, labels = _load(record, evidence, profile, subject, repair_request)
        with preserved(model.module), on_device(model.module, place.device):
            clock.enter("walk")
            graph = walk(model, _few(parts[0]).to(place.device))
            chosen, skipped = _folds(record, model, graph, repair_request.layers)
            unlabelled = [_judge(model, graph, part, attacks, profile, place, repair_request.seed) for part in parts]
            progress.message(f"attacks: {', '.join(map(_planned_line, attacks))}")
            clock.enter("try the file")
            request, compared = model_request(subject, profile), _compared(unlabelled[1].evaluation)
            chosen = fitted_to_file(chosen, model, request, compared)
            first, second = (judge.labelled(labels.source, progress) for judge in unlabelled)
            clock.enter("choose")
            candidates = try_all(chosen, first, attacks[0], repair_request.max_clean_drop, progress)
            strengths = best(candidates)
            clock.enter("judge")
            changes, outcome = _verdict(chosen, strengths, second, attacks, repair_request.max_clean_drop, progress)
            clock.enter("pack")
            file = _file(chosen, strengths, model, request, compared)
        found = Repair(
            tool_version=__version__,
            subject=subject,
            model=describe_model(model),
            labels=labels,
            choosing=describe_data(parts[0]),
            judging=describe_data(parts[1]),
            scanned_sha256=record.data.sha256,
            attacks=attacks,
            max_clean_drop=repair_request.max_clean_drop,
            seed=repair_request.seed,
            layers=tuple(entry.describe(strengths) for entry in chosen),
            skipped=skipped,
            candidates=candidates,
            chosen=strengths,
            changes=changes,
            outcome=outcome,
            file=file.info if file else None,
            environment=place.environment(),
            timing=clock.timing(),
        )
    return Repaired(found, file)


def _load(
    record: AuditRecord,
    evidence: Mapping[str, NDArray[Any]],
    profile: Profile,
    subject: str,
    repair_request: RepairRequest,
) -> tuple[Model, tuple[Dataset, Dataset], LabelInfo]:
    """The scanned model, images that the scan did not use (to choose and to judge with), and what counts as right."""
    used = stored(evidence, "image_ids", "U", (record.data.samples,)).tolist()
    changes = {"samples": wanted(len(used), repair_request.samples), "slice": None}
    model, dataset = load(subject, profile.model_copy(update=changes))
    if not model.differentiable:
        raise ModelError(f"{model.name} runs in the runtime of its file, which shows no weights", "give a torch model")
    if weights_sha256(model.module.network) != record.model.weights_sha256:
        raise UsageError(f"the run is of other weights than those of {subject}", "name the model that was scanned")
    same = is_same_data(dataset, record.data, used)
    parts = split(dataset, used if same else (), repair_request.samples, repair_request.seed)
    return model, parts, choose_labels(dataset, model.settled[1], profile.labels)


def _few(dataset: Dataset) -> Tensor:
    """Some images to walk with; a smaller part is repeated."""
    images = dataset.images(0, WALK_IMAGES)
    return images[torch.arange(WALK_IMAGES) % len(images)]


def _judge(
    model: Model,
    graph: Graph,
    dataset: Dataset,
    attacks: Sequence[Perturbation],
    profile: Profile,
    place: Runtime,
    seed: int,
) -> Judge:
    batch_size = profile.batch_size or default_batch_size(model.settled[0], place.device)
    unknown = torch.zeros(len(dataset), dtype=torch.bool)
    evaluation = Evaluation(model, dataset, dataset.labels, place.device, batch_size, unknown)
    # A compiled model might keep the weights of before an edit; short floats may not be there on this device.
    attacking = profile.model_copy(update={"seed": seed, "compile": False, "precision": "float32"})
    return Judge(evaluation, make_runner(evaluation, graph, attacks, attacking, place))


def _folds(
    record: AuditRecord, model: Model, graph: Graph, pattern: str | None
) -> tuple[tuple[Fold, ...], tuple[Skipped, ...]]:
    """Those of the layers whose neurons the scan dropped: the ones that the pattern names, or all but the logits."""
    tables = {table.layer: table for table in record.neurons}
    if len(tables) < len(record.neurons):
        raise DataError("the record has two neuron tables of one layer", DAMAGED_HINT)
    lacking = tables.keys() - {layer.info.name for layer in graph.layers}
    if lacking:
        raise DataError(f"the record has neurons of {min(lacking)}, a layer that the model lacks", DAMAGED_HINT)
    asked = graph.layers if pattern is None else select(graph.layers, pattern)
    layers = [layer for layer in asked if layer.info.name in tables]
    if not layers:
        dropped = ", ".join([*tables][:SHOWN])
        raise UsageError(f"the run dropped no neurons of {pattern}", f"it did of {dropped}; scan with --neurons")
    left_alone: tuple[Skipped, ...] = ()
    if pattern is None:
        layers, left_alone = without_logits(graph, layers, 1 if model.module.binary else model.settled[1])
    found, skipped = folds(graph, layers, [tables[layer.info.name] for layer in layers])
    return found, (*left_alone, *skipped)


def _verdict(
    chosen: Sequence[Fold],
    strengths: Strengths,
    judge: Judge,
    attacks: Sequence[Perturbation],
    max_clean_drop: float,
    progress: Progress,
) -> tuple[tuple[Change, ...], Outcome]:
    """The model before and after on the images that judge; nothing is run where nothing was chosen."""
    if strengths == UNCHANGED:
        return (), "nothing-chosen"
    seen = []
    for applied in (UNCHANGED, strengths):
        with scaled(chosen, applied):
            right = judge.clean(progress)
            seen.append([right.numpy(), *(judge.robust(attack, right, progress) for attack in attacks)])
    names = [CLEAN, *(attack.id for attack in attacks)]
    clean, *attacked = [compare(name, before, after) for name, before, after in zip(names, *seen, strict=True)]
    return (clean, *attacked), settle(clean, attacked, max_clean_drop)


def _planned_line(entry: Perturbation) -> str:
    """What will run: steps may come from anybody's record, and cost what they cost."""
    return f"{entry.id} ({entry.steps:,} steps, runs: {entry.restarts})"


def _compared(evaluation: Evaluation) -> Tensor:
    """Some of the images, not more than go into one forward."""
    return evaluation.dataset.images(0, min(COMPARED_IMAGES, evaluation.batch_size)).to(evaluation.device)


def _file(
    chosen: Sequence[Fold], strengths: Strengths, model: Model, request: ModelRequest, images: Tensor
) -> ModelFile | None:
    """The edited model's file, compared on the images; None where nothing was chosen."""
    if strengths == UNCHANGED:
        return None
    with scaled(chosen, strengths):
        return checked_file(model, request, images, "repaired")
