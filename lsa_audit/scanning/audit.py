"""The scan: load, walk, attack, analyse, and hand over one record. Readable from top to bottom in `audit`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import __version__
from ..attacks import ATTACKS
from ..data.base import Dataset, digests, remarks
from ..data.base import describe as describe_data
from ..data.labels import choose_labels
from ..data.transforms import ENLARGED
from ..device.clock import Clock
from ..device.runtime import batch_size_on, choose_threads, runtime
from ..errors import ModelError
from ..findings import judged
from ..graph import taps
from ..graph.base import Graph
from ..graph.batch_layout import TOLERANCE
from ..graph.select import select
from ..graph.walker import ROWS_IMAGES, no_backward, walk, without_uneven
from ..measurements.sustainability import SustainabilityProbe
from ..models.answers import predicted
from ..models.base import Model
from ..models.base import describe as describe_model
from ..models.failures import forward_failures
from ..models.state import preserved
from ..progress import Progress, shown
from ..records import AuditRecord, Estimate, GraphInfo, LabelInfo, Perturbation, Skipped, Sweep
from ..settings.profile import Profile, build, read
from ..stats.statistics import Floats, estimate
from ..units import format_dark, format_percent
from . import plausibility
from .examining import examine
from .gallery import ChosenImages, gallery
from .loading import WALK_IMAGES, Images, Subject, in_training, load, load_without_data, say_outputs
from .measuring import ProbeInputs, attack_to_study, attacks_to_study, measure_parts, needs_images, neuron_layers
from .plan import measurable, perturbations, runs, without_gradients
from .stages import Evaluation, attack_and_measure, make_runner, on_device, predict
from .verdicts import Verdicts, sweeps

Evidence = dict[str, NDArray[Any]]

TRIAL_IMAGES = 16


@dataclass(frozen=True)
class Audit:
    """A record and the per-image arrays behind it (`evidence.npz`)."""

    record: AuditRecord
    evidence: Evidence


def scan(
    model: str | os.PathLike[str] | nn.Module | torch.export.ExportedProgram,
    data: Any = None,
    *,
    profile: str | os.PathLike[str] | Mapping[str, Any] = "standard",
    progress: Progress | bool | None = None,
    **settings: Any,
) -> AuditRecord:
    """Audit a classifier and return the record.

    Args:
        model: an `nn.Module` from images to logits [N, K], left exactly as it was (a `ScriptModule` is one, frozen or
            not), an `ExportedProgram`, or what the command line takes: a model file, the name of a built-in or timm
            model, or `file.py:factory`.
        data: images [N, C, H, W] or [N, F] in [0, 1] (or uint8) with their labels [N], a torch `Dataset` or an
            unshuffled `DataLoader` of (image, label), or a name, folder or .npz file.
        profile: name of a preset, a YAML file, or a mapping of settings.
        progress: True shows it on the terminal; or an object with the methods of `progress.Progress`. None: silent.
        settings: single settings, which override the profile, e.g. `samples=200, epsilon=8/255`. An epsilon is a
            number, a text such as "8/255", or a list of them.

    Raises:
        errors.AuditError: what the command line would print on one line, by kind (UsageError, DataError ...).

    Random: everything follows from the setting `seed`; the global generators are left as they were.
    """
    base = profile if isinstance(profile, Mapping) else read(os.fspath(profile), settings)
    is_named = isinstance(data, str | os.PathLike)
    named = {"data": os.fspath(data)} if is_named else {}
    effective = make_profile({"profile": base, "arguments": {**settings, **named}})
    subject = os.fspath(model) if isinstance(model, os.PathLike) else model
    with shown(progress) as told:
        return audit(subject, effective, images=None if is_named else data, progress=told).record


def make_profile(sources: Mapping[str, Mapping[str, Any]]) -> Profile:
    """The profile from raw values of several sources, lowest precedence first.

    Raises:
        ProfileError: all mistakes at once.
    """
    attacks = [name for name, entry in ATTACKS.items() if entry.kind == "attack"]
    noises = [name for name, entry in ATTACKS.items() if entry.kind == "noise"]
    return build(sources, attacks, noises)


@forward_failures()
def audit(subject: Subject, profile: Profile, *, images: Images | None = None, progress: Progress) -> Audit:
    """Run the whole pipeline.

    Args:
        subject: a module, a loaded model, or the spec of one.
        profile: what to do.
        images: with their labels, instead of `profile.data`.

    Raises:
        AuditError: bad input.
    """
    clock = Clock()
    planned = perturbations(profile)
    given_in_training = in_training(subject)
    with torch.inference_mode(False), runtime(profile.device, profile.threads) as place:
        progress.stage("load", 0)
        model, dataset = load(subject, profile, images)
        for remark in remarks(dataset):
            progress.message(remark)
        attack_skips: tuple[Skipped, ...] = ()
        if model.conversion is not None and not model.differentiable:
            planned, attack_skips = without_gradients(planned, model.conversion.opaque)
        say_outputs(model, progress)
        label_info = choose_labels(dataset, model.settled[1], profile.labels)
        _say_pixels(dataset, progress)
        with preserved(model.module), on_device(model.module, place.device):
            clock.enter("walk")
            progress.stage("walk", 0)
            graph = walk(model, walk_images(dataset).to(place.device))
            _refuse_broken_backward(model, graph, planned, profile)
            # Without a single measurable layer (a model that couples its images, say) the verdicts still stand.
            layers = select(graph.layers, profile.layers) if graph.layers and profile.layers != "none" else ()
            if profile.threads is None and place.device.type == "cpu":
                _choose_threads(model.module, dataset.images(0, TRIAL_IMAGES))

            clock.enter("clean")
            batch_size = profile.batch_size or batch_size_on(
                place.device, model.module, dataset.images(0, TRIAL_IMAGES)
            )
            unknown = torch.zeros(len(dataset), dtype=torch.bool)
            evaluation = Evaluation(model, dataset, dataset.labels, place.device, batch_size, unknown)
            logits = predict(evaluation, progress)
            predictions = predicted(logits)
            if label_info.source == "self":
                # Images without an answer count as wrong whatever their label.
                evaluation = replace(evaluation, labels=predictions.clamp_min(0))
            evaluation = replace(evaluation, right=predictions == evaluation.labels)
            right = evaluation.right.numpy()
            clean = estimate(int(right.sum()), len(right))
            progress.message(_clean_message(label_info, clean))
            graph = without_uneven(graph, dataset.images(0, min(batch_size, ROWS_IMAGES)).to(place.device))
            layers = tuple(layer for layer in layers if layer in graph.layers)

            clock.enter("attack_and_measure")
            budgeted = measurable(planned)
            measured = budgeted if layers else ()
            candidates = attacks_to_study(budgeted, 4 * dataset.pixels.numel())
            # A layer that is not there must not wait for the attacks.
            neuron_layers(graph, profile.neurons, None)
            probe = SustainabilityProbe(graph, layers, [entry.id for entry in measured], profile.measure, len(dataset))
            runner = make_runner(evaluation, graph, planned, profile, place)
            # The probe has the whole budget's images of what it measures anyway; the gallery takes one attack's.
            kept = candidates if needs_images(profile) else candidates[-1:] if measured and profile.gallery else ()
            keep = tuple(entry.id for entry in kept)
            planned_runs = runs(planned, {*(entry.id for entry in measured), *keep})
            verdicts, finals = attack_and_measure(
                evaluation, planned_runs, probe, runner, progress, keep=keep, keep_images=profile.save_adversarials
            )
            sustainability = probe.results(profile.eta, profile.seed)

            clock.enter("measure_parts")
            studied = attack_to_study(candidates, verdicts, clean)
            inputs = ProbeInputs(evaluation, graph, layers, profile, progress, studied, finals, sustainability)
            parts = measure_parts(inputs, runner)

            shown = attack_to_study(kept, verdicts, clean)
            flipped = ChosenImages()
            if shown:
                flipped = gallery(evaluation, logits, verdicts[shown.id], finals[shown.id], profile.gallery)

            clock.enter("health")
            progress.stage("attack health", 0)
            model_health = examine(evaluation, logits, verdicts, profile.seed, given_in_training)
            attacks = tuple(verdicts[entry.id].result(right, profile.seed) for entry in planned)
            plausible = plausibility.examine(
                evaluation, label_info, predictions, plausibility.passes_made(evaluation, attacks, len(measured))
            )

            clock.enter("analyse")
            progress.stage("analyse", 0)
            swept = sweeps(verdicts, right)
            record = AuditRecord(
                tool_version=__version__,
                subject=subject if isinstance(subject, str) else None,
                model=describe_model(model),
                data=describe_data(dataset),
                labels=label_info,
                settings={**profile.model_dump(mode="json"), "batch_size": batch_size},
                environment=place.environment(profile.precision),
                clean=clean,
                attacks=attacks,
                sweeps=tuple(sweep for sweep, _ in swept.values()),
                health=model_health,
                plausibility=plausible,
                graph=graph.info,
                sustainability=sustainability,
                neurons=parts.tables,
                screening=parts.screening,
                patching=parts.patching,
                filters=parts.filters,
                findings=(),
                skipped=(
                    *attack_skips,
                    *graph.info.skipped,
                    *probe.skipped(),
                    *parts.skipped,
                    *_other_branches(evaluation, graph),
                ),
                gallery=flipped.flipped,
                timing=clock.timing(),
            )
    return Audit(judged(record), _evidence(evaluation, predictions, verdicts, probe, swept) | flipped.evidence)


@forward_failures()
def layer_table(subject: str | nn.Module, profile: Profile) -> GraphInfo:
    """The layers of a model without an audit; takes the images of `profile.data`, or random ones where there is none.

    Raises:
        AuditError: the model cannot be loaded or run.
    """
    with runtime(profile.device, profile.threads) as place:
        if profile.data is None:
            model, images = load_without_data(subject, profile)
        else:
            # Labels decide nothing here, and so does their order.
            model, dataset = load(subject, profile.model_copy(update={"labels": "self"}))
            images = walk_images(dataset)
        with preserved(model.module), on_device(model.module, place.device):
            return walk(model, images.to(place.device)).info


def walk_images(dataset: Dataset) -> Tensor:
    """Three images to walk with; a smaller data set is repeated."""
    images = dataset.images(0, WALK_IMAGES)
    return images[torch.arange(WALK_IMAGES) % len(images)]


def _refuse_broken_backward(model: Model, graph: Graph, planned: Sequence[Perturbation], profile: Profile) -> None:
    """Refuse what needs gradients of a model whose own backward fails, before hours of attacks, not after."""
    failed = no_backward(graph)
    if failed and (profile.neurons != "none" or any(ATTACKS[entry.name].gradients for entry in planned)):
        what = f"the gradient of {model.name} by its images fails: {failed}"
        raise ModelError(what, "fix its backward, or give --attack square --neurons none")


def _other_branches(evaluation: Evaluation, graph: Graph) -> tuple[Skipped, ...]:
    """The clean images that a graph specialised to the branches of a sample does not reproduce. Cost: two forwards."""
    if not graph.info.specialized:
        return ()
    apart = 0
    for _, batch in evaluation.batches():
        with torch.no_grad():
            expected, found = evaluation.model.module(batch.images), taps.run(graph, batch.images, {})
        apart += int(((found - expected).abs().amax(1) > TOLERANCE * expected.abs().amax(1)).sum())
    if not apart:
        return ()
    detail = (
        f"the model branches on values, and {apart} of {len(evaluation.dataset)} clean images take other branches than "
        "the sample: their layer and neuron figures follow the sample's branches, their verdicts do not"
    )
    return (Skipped(what="layers of images on other branches", reason="specialized", detail=detail),)


def _choose_threads(module: nn.Module, images: Tensor) -> None:
    def forward() -> None:
        with torch.no_grad():
            module(images)

    choose_threads(forward)


def _clean_message(labels: LabelInfo, clean: Estimate) -> str:
    if labels.source == "self":
        return f"{labels.reason}: auditing prediction stability against the model's own clean predictions"
    return f"clean accuracy {format_percent(clean.value)} ({clean.count} of {clean.total})"


def _say_pixels(dataset: Dataset, progress: Progress) -> None:
    if dark := format_dark(dataset.largest_pixel):
        progress.message(dark)
    for step in dataset.transforms:
        if step.startswith(ENLARGED):
            progress.message(f"the images were {step}")


def _evidence(
    evaluation: Evaluation,
    predictions: Tensor,
    verdicts: Mapping[str, Verdicts],
    probe: SustainabilityProbe,
    swept: Mapping[str, tuple[Sweep, Floats]],
) -> Evidence:
    evidence: Evidence = {
        "image_ids": np.asarray(evaluation.dataset.image_ids),
        "image_digests": digests(evaluation.dataset),
        "labels": evaluation.labels.numpy(),
        "clean_predictions": predictions.numpy(),
        "layers": np.asarray(probe.layer_names),
    }
    for name, entry in verdicts.items():
        evidence[f"right/{name}"] = entry.right
        if entry.adversarials is not None:
            evidence[f"adversarial/{name}"] = entry.adversarials
        if entry.perturbation.minimal:
            evidence[f"distance/{entry.perturbation.name}@{entry.perturbation.norm}"] = entry.distance
    for name, (_, broken) in swept.items():
        evidence[f"breaking_epsilon/{name}"] = broken
    for name, values in zip(probe.ids, probe.values, strict=True):
        evidence[f"measure/{name}"] = values.astype(np.float32)
    return evidence
