"""Hardening: choose the layers, train, write the file, and audit before and after. Top to bottom in `harden`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..data.base import Dataset
from ..data.base import describe as describe_data
from ..data.labels import choose_labels
from ..device.clock import Clock
from ..device.ranks import Ranks, ranks
from ..device.runtime import kernels, runtime
from ..errors import ModelError
from ..graph.base import Graph
from ..graph.training_fidelity import IMAGES
from ..graph.walker import walk
from ..models.base import Model
from ..models.base import describe as describe_model
from ..models.failures import forward_failures
from ..models.request import ModelRequest
from ..models.saving import reload_request
from ..progress import Progress
from ..records import LabelInfo
from ..records.hardening import ChosenLayer, Hardening, LearningRateTrial, Trainee, TrainingLog
from ..repairing.files import ModelFile, checked_file
from ..scanning.audit import Audit, audit
from ..scanning.loading import load, load_data, model_request, say_outputs
from ..scanning.plan import perturbations
from ..scanning.stages import on_device
from ..settings.profile import Profile
from ..settings.recipe import Recipe
from ..writing import write_whole
from .batch_norms import refuse_single_images
from .checks import Checks, audit_profile, layer_profile, reloading
from .comparing import changes, deciding, scores, shifts, verdict
from .layers import names, weights
from .learning_rate import sentence, tried
from .reference import Scanned
from .reference import check as check_accuracy
from .sets import apart, sides
from .trainee import trainee_of
from .training.loop import Setup, train
from .training.state import copy_of, put
from .training.trial import TimingTrial, try_steps

COMPARED_IMAGES = 100
TRIAL_SCALE = 0.97


@dataclass(frozen=True)
class HardenRequest:
    """What is asked of a hardening.

    Attributes:
        recipe: of the training.
        data: spec of the images to train on; of a named set the training images.
        test: spec of the images that give the verdict; None: see `harden.sets.sides`.
        eta: of the choice of the most vulnerable layers.
        samples, test_samples: seeded, class-balanced; None takes all.
        checks: the attacks before and after.
        scanned: a scan of the model, which must be as good now as it was then.
    """

    recipe: Recipe
    data: str
    test: str | None = None
    eta: float = 0.8
    samples: int | None = None
    test_samples: int | None = None
    checks: Checks = field(default_factory=Checks)
    scanned: Scanned | None = None


@dataclass(frozen=True)
class Hardened:
    """The record, and the audits behind it; the model file lies in the folder already."""

    record: Hardening
    before: Audit
    after: Audit | None


@dataclass(frozen=True)
class _Worker:
    """Where this process trains, and with which others."""

    device: torch.device
    group: Ranks


@dataclass(frozen=True)
class _Prepared:
    """What the parts share: the model on its device, and images without one in common."""

    model: Model
    graph: Graph
    trainee: Trainee
    labels: LabelInfo
    training: Dataset
    validation: Dataset
    test: Dataset


@forward_failures()
def harden(
    subject: str, profile: Profile, wanted: HardenRequest, folder: Path, progress: Progress, *, resume: bool = False
) -> Hardened | None:
    """Train a model against attacks, write it in the format that it came in, and audit it before and after.

    Three sets of images without one in common: the training images; the validation images, which choose the layers and
    the checkpoint; the test images, which give the verdict.

    Args:
        subject: the spec of the model.
        profile: how model and data are loaded, and what the audits measure besides the attacks.
        folder: an existing one for the checkpoint, the log and the model file.
        resume: go on from the checkpoint in the folder.

    Returns:
        None in a process of torchrun that is not the first.

    Raises:
        AuditError: bad input, a loss that is not finite, or a folder that cannot be written.

    Cost: that of `training.loop.train`, and two audits on the test images.
    """
    clock = Clock()
    recipe, checks = wanted.recipe, _checks(profile, wanted)
    with torch.inference_mode(False), runtime(profile.device, profile.threads) as place:
        with ranks(place.device) as group:
            here = _Worker(group.device_of(place.device), group)
            progress.stage("load and walk", 0)
            scene = _load(subject, profile, wanted, here.device, progress)
            refuse_single_images(scene.graph, scene.model.module, len(scene.training), recipe, group)
            request = model_request(subject, profile)
            compared = scene.test.images(0, COMPARED_IMAGES).to(here.device)
            with on_device(scene.model.module, here.device):
                clock.enter("try the file")
                _try_file(scene.model, request, compared)
                model_before = describe_model(scene.model)
                clock.enter("choose layers")
                chosen = group.share(_chosen(scene, profile, wanted, here, progress))
                gammas = {entry.layer: entry.gamma or 0.0 for entry in chosen}
                clock.enter("train")
                setup, untrained = _setup(scene, recipe, gammas, here), copy_of(scene.model.module)
                with kernels(deterministic=recipe.deterministic):
                    log = train(setup, progress, folder, resume=resume)
                    progress.message(f"training ended: {log.detail}")
                    trial = tried(setup, untrained, log, progress)
                if not group.first:
                    return None
                clock.enter("write")
                file = _written(scene.model, request, compared, folder, log)
        clock.enter("audit before")
        before = audit(subject, checks, images=scene.test, progress=progress)
        after = None
        if file is not None:
            clock.enter("audit after")
            again = reload_request(request, folder / file.info.name)
            after = audit(again.spec, reloading(checks, again), images=scene.test, progress=progress)
        record = Hardening(
            **_record(subject, wanted, scene, chosen, log, before, after, trial),
            model=model_before,
            file=None if file is None else file.info,
            environment=place.environment(),
            timing=clock.timing(),
        )
        return Hardened(record, before, after)


@forward_failures()
def dry_run(subject: str, profile: Profile, wanted: HardenRequest, progress: Progress) -> TimingTrial:
    """Run two steps of the training, and tell the time and the memory that the whole will take; nothing is written.

    The most vulnerable layers are not looked for: the last learnable layer, which costs most, stands for them.

    Raises:
        AuditError: as `harden`.
    """
    _checks(profile, wanted)
    with torch.inference_mode(False), runtime(profile.device, profile.threads) as place:
        progress.stage("load and walk", 0)
        scene = _load(subject, profile, wanted, place.device, progress)
        refuse_single_images(scene.graph, scene.model.module, len(scene.training), wanted.recipe, Ranks())
        with on_device(scene.model.module, place.device):
            last = [layer.info.name for layer in scene.graph.layers if layer.info.kind == "learnable"][-1:]
            layers = names(scene.graph, wanted.recipe, last) if wanted.recipe.reg != "none" else ()
            setup = _setup(scene, wanted.recipe, dict.fromkeys(layers, 1.0), _Worker(place.device, Ranks()))
            return try_steps(setup, progress)


def _checks(profile: Profile, wanted: HardenRequest) -> Profile:
    """The profile of the audits before and after; what cannot run is told before hours of training."""
    checks = audit_profile(profile, wanted.recipe, wanted.eta, wanted.checks)
    perturbations(checks)
    return checks


def _load(subject: str, profile: Profile, wanted: HardenRequest, device: torch.device, progress: Progress) -> _Prepared:
    """Model and images; the model has run once, is differentiable, and its labels are those of the data."""
    seed, chosen = wanted.recipe.seed, sides(wanted.data, wanted.test)
    training_profile = profile.model_copy(update={"data": chosen.training, "samples": wanted.samples, "slice": None})
    model, dataset = load(subject, training_profile)
    if not model.differentiable:
        raise ModelError(f"{model.name} runs in the runtime of its file, which cannot train", "give a torch model")
    say_outputs(model, progress)
    labels = choose_labels(dataset, model.settled[1], "dataset")
    test = None
    if chosen.test is not None:
        settings = {"data": chosen.test, "samples": wanted.test_samples or chosen.most, "slice": None}
        test = load_data(model, profile.model_copy(update=settings))
        choose_labels(test, model.settled[1], "dataset")
    sets = apart(dataset, test, wanted.test_samples, seed, progress)
    with on_device(model.module, device):
        if wanted.scanned is not None:
            check_accuracy(model, profile, wanted.scanned, device)
        graph = walk(model, sets.training.images(0, 3).to(device))
        graph, trainee = trainee_of(model, graph, sets.training.images(0, IMAGES).to(device), wanted.recipe, progress)
    return _Prepared(model, graph, trainee, labels, *sets)


def _chosen(
    scene: _Prepared, profile: Profile, wanted: HardenRequest, place: _Worker, progress: Progress
) -> tuple[ChosenLayer, ...]:
    """The layers with their weights, measured on the validation images; nothing without a layer-wise regulariser."""
    recipe = wanted.recipe
    if recipe.reg == "none" or not place.group.first:
        return ()
    errors: dict[str, float | None] = {}
    vulnerable: tuple[str, ...] = ()
    if recipe.layers == "mvl" and recipe.reg == "atlr":
        checks = layer_profile(profile, recipe, wanted.eta)
        (found,) = audit(scene.model, checks, images=scene.validation, progress=progress).record.sustainability
        errors = {entry.layer: entry.mean for entry in found.layers}
        vulnerable = found.mvl
        if not vulnerable and found.highest is not None:
            progress.message(f"no layer lies above mu + eta sigma; the highest, {found.highest}, is regularised")
            vulnerable = (found.highest,)
    layers = names(scene.graph, recipe, vulnerable)
    if not layers:
        raise ModelError(f"{scene.model.name} has no layer that can be regularised", "see `lsa-audit layers MODEL`")
    gammas: dict[str, float] = {}
    if recipe.reg == "atlr":
        gammas = weights(scene.model, scene.graph, scene.training, recipe, layers, place.device)
    chosen = [ChosenLayer(layer=name, gamma=gammas.get(name), relative_error=errors.get(name)) for name in layers]
    progress.message(f"{recipe.reg} acts on {', '.join(map(_shown, chosen))}")
    return tuple(chosen)


def _shown(entry: ChosenLayer) -> str:
    return entry.layer if entry.gamma is None else f"{entry.layer} (gamma {entry.gamma:.3g})"


def _setup(scene: _Prepared, recipe: Recipe, gammas: Mapping[str, float], place: _Worker) -> Setup:
    model, graph = scene.model, scene.graph
    return Setup(model, graph, recipe, gammas, scene.training, scene.validation, place.device, place.group)


def _try_file(model: Model, request: ModelRequest, images: Tensor) -> None:
    """Refuse a format that cannot hold other weights before they are trained, not after."""
    state = copy_of(model.module)
    try:
        put(model.module, {name: value * TRIAL_SCALE for name, value in state.items() if value.is_floating_point()})
        checked_file(model, request, images, "hardened")
    finally:
        put(model.module, state)


def _written(model: Model, request: ModelRequest, images: Tensor, folder: Path, log: TrainingLog) -> ModelFile | None:
    """The trained model's file, in the folder; None where no epoch was kept."""
    if log.kept_epoch is None:
        return None
    file = checked_file(model, request, images, "hardened")
    for name, content in file.contents.items():
        write_whole(folder / name, content)
    return file


def _record(
    subject: str,
    wanted: HardenRequest,
    scene: _Prepared,
    chosen: Sequence[ChosenLayer],
    log: TrainingLog,
    before: Audit,
    after: Audit | None,
    trial: LearningRateTrial | None,
) -> dict[str, Any]:
    """What the two audits and the training amount to, as fields of the record."""
    recipe = wanted.recipe
    strongest = deciding(before.record, recipe.epsilon, recipe.own_attack)
    found = () if after is None else changes(before.record, before.evidence, after.evidence)
    last = None if after is None else after.record
    settled, reason = verdict(found, strongest, last, recipe.max_clean_drop)
    measured = [entry.perturbation for entry in before.record.sustainability]
    attack = next((name for name in strongest if name in measured), measured[0] if measured else None)
    return {
        "tool_version": __version__,
        "subject": subject,
        "labels": scene.labels,
        "recipe": recipe.model_dump(mode="json"),
        "title": recipe.title,
        "training": describe_data(scene.training),
        "validation": describe_data(scene.validation),
        "test": describe_data(scene.test),
        "eta": wanted.eta,
        "trainee": scene.trainee,
        "chosen": tuple(chosen),
        "log": log,
        "before": before.record,
        "after": last,
        "changes": found,
        "strongest": strongest,
        "layer_attack": attack,
        "layers": shifts(before.record, last, attack, [entry.layer for entry in chosen]),
        "scores": scores(before.record, last),
        "learning_rate": trial,
        "verdict": settled,
        "reason": "; ".join(filter(None, (sentence(trial, log, recipe), reason))),
    }
