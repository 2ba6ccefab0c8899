"""The stages of a scan that touch tensors: loading, clean predictions, and the one pass that attacks and measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import data, models
from .attacks.base import Batch, Engine
from .data import order
from .data.base import DataRequest, Dataset, InputSpec
from .data.labels import shifted
from .errors import ModelError, UsageError
from .graph import taps
from .graph.base import Graph
from .graph.select import select
from .judging import Bench, in_parts
from .judging import verdicts as judge_run
from .models.base import Model, Opaque, decided, fit
from .models.deciding import VALUE_IMAGES
from .models.pinning import changing, told
from .models.request import ModelRequest
from .models.seeding import seeded
from .models.state import preserved
from .plan import Run
from .probes.sustainability import SustainabilityProbe
from .profile import Profile
from .progress import Progress
from .records import Perturbation
from .runtime import Runtime, compiled_or_none
from .verdicts import Verdicts

WALK_IMAGES = 3


@dataclass(frozen=True)
class Scene:
    """What the stages share.

    Attributes:
        model: on its device.
        labels: [N] int64 on the CPU, what counts as right.
        right: [N] bool on the CPU, which images the model classifies right; all False until that is known.
    """

    model: Model
    dataset: Dataset
    labels: Tensor
    device: torch.device
    batch_size: int
    right: Tensor

    def batches(self) -> Iterator[tuple[slice, Batch]]:
        """The data in its own order, on the device."""
        for start in range(0, len(self.dataset), self.batch_size):
            part = slice(start, min(start + self.batch_size, len(self.dataset)))
            images = self.dataset.images(part.start, part.stop).to(self.device)
            labels, right = (values[part].to(self.device) for values in (self.labels, self.right))
            yield part, Batch(images, labels, self.dataset.image_ids[part], right)


Subject = str | nn.Module | Model
"""The spec of a model, a network in memory, or a model that is loaded already."""

Images = Any
"""What `data.from_memory` takes, or a `Dataset` that is loaded already."""


def load(subject: Subject, profile: Profile, images: Images | None = None) -> tuple[Model, Dataset]:
    """Model and data, fitted to each other: the model has run once on real images.

    Args:
        images: instead of `profile.data`.

    Raises:
        AuditError: either cannot be loaded, or they do not fit.
    """
    model = load_model(subject, profile)
    dataset = _read_data(model, profile, images)
    offset = _offset(model, profile) if dataset.label_offset is None else 0
    expected = None if dataset.classes is None else dataset.classes + offset
    fitted = _fitted(model, dataset.images(0, VALUE_IMAGES), expected)
    return fitted, _settled(dataset, fitted, profile)


def say_outputs(model: Model, progress: Progress) -> None:
    """Tell what the outputs were taken for, where they are not simply logits."""
    if model.outputs is not None and not model.outputs.plain:
        progress.message(f"outputs: {model.outputs.sentence}")


def load_data(model: Model, profile: Profile) -> Dataset:
    """The data in the shape that a model wants which has run once, with labels that count its classes.

    Raises:
        AuditError: they cannot be loaded, or do not fit.
    """
    return _settled(_read_data(model, profile), model, profile)


def _settled(dataset: Dataset, model: Model, profile: Profile) -> Dataset:
    """The data with labels that count the model's classes, whose names come after those that an offset skips."""
    if dataset.label_offset is not None:
        return dataset
    skipped = max(_offset(model, profile), 0)
    classes, names = model.settled[1] - skipped, model.class_names[skipped:]
    placed = order.settle(dataset, classes, profile.labels, profile.class_order, names)
    return shifted(placed, _said_offset(model, profile))


def _said_offset(model: Model, profile: Profile) -> int | None:
    return model.label_offset if profile.label_offset is None else profile.label_offset


def _offset(model: Model, profile: Profile) -> int:
    return _said_offset(model, profile) or 0


def _read_data(model: Model, profile: Profile, images: Images | None = None) -> Dataset:
    if isinstance(images, Dataset):
        return images
    wanted = model.preprocessing
    spec = InputSpec(
        shape=wanted.input_shape,
        channels=wanted.channels,
        interpolation=wanted.interpolation,
        crop_share=wanted.crop_share,
        crop_mode=wanted.crop_mode,
        crops_arrays=profile.crop is not None,
    )
    request = _data_request(profile)
    if profile.crop is not None and spec.shape is None:
        raise UsageError("--crop needs the size of the model's input, which nothing says", "give --input-size CxHxW")
    if images is not None:
        # A data set may be the user's code, and draw.
        with seeded(profile.seed):
            return data.from_memory(images, spec, request)
    if profile.data is None:
        raise UsageError("no data given", "name a data set, a folder or an .npz file with --data, or in the profile")
    return data.load(request, spec)


def load_without_data(subject: Subject, profile: Profile) -> tuple[Model, Tensor]:
    """The model, run once on seeded random pixels, and those images ([WALK_IMAGES, ...]).

    Raises:
        AuditError: the model cannot be loaded or run, or nothing says what its input looks like.
    """
    model = load_model(subject, profile)
    shape = model.preprocessing.input_shape
    if shape is None:
        raise UsageError(f"nothing says what size {model.name} takes", "give --input-size CxHxW or --data")
    generator = torch.Generator().manual_seed(profile.seed)
    images = torch.rand((WALK_IMAGES, *shape), generator=generator)
    return _fitted(model, images), images


def _fitted(model: Model, images: Tensor, classes: int | None = None) -> Model:
    model = decided(model, classes)
    with preserved(model.module):
        model = fit(model, images, classes)
        return _steady(model, images)


def _steady(model: Model, images: Tensor) -> Model:
    """The model, whose every forward starts from the same state; what its forward would change is noted."""
    module = model.module
    if isinstance(module.network, Opaque) or model.conversion is not None:
        return model
    home = next((parameter.device for parameter in module.parameters()), images.device)
    module.pins = changing(module.network, module, images.to(home))
    return replace(model, notes=(*model.notes, told(module.pins))) if module.pins else model


def load_model(subject: Subject, profile: Profile) -> Model:
    """The model alone, not yet run.

    Raises:
        AuditError: it cannot be loaded.
    """
    if isinstance(subject, Model):
        return subject
    if isinstance(subject, torch.jit.ScriptModule):
        return models.from_script(subject, model_request("", profile))
    if isinstance(subject, nn.Module):
        return models.from_module(
            subject,
            mean=profile.mean,
            std=profile.std,
            input_shape=_input_shape(profile),
            layout=profile.layout,
            channel_order=profile.channel_order,
            logits=profile.logits,
            outputs_are=profile.outputs_are,
            crop_share=profile.crop,
            interpolation=profile.interpolation,
        )
    try:
        subject.encode()
    except UnicodeEncodeError:
        # It could not stand in the record.
        raise ModelError("the name of the model is no UTF-8 text", "rename the file, or give a link") from None
    return models.load(model_request(subject, profile))


def model_request(subject: str, profile: Profile) -> ModelRequest:
    """What the profile asks of the model that `subject` names."""
    return ModelRequest(
        spec=subject,
        arch=profile.arch,
        checkpoint=Path(profile.checkpoint) if profile.checkpoint else None,
        weights=profile.weights,
        random_weights=profile.random_weights,
        seed=profile.seed,
        mean=profile.mean,
        std=profile.std,
        input_shape=_input_shape(profile),
        crop_share=profile.crop,
        interpolation=profile.interpolation,
        layout=profile.layout,
        channel_order=profile.channel_order,
        classes=profile.classes,
        logits=profile.logits,
        outputs_are=profile.outputs_are,
        label_offset=profile.label_offset,
        limits=profile.limits,
        allow_code=profile.allow_code,
        trusted=frozenset(profile.trusted),
        arguments=profile.model_args,
    )


def _input_shape(profile: Profile) -> tuple[int, ...] | None:
    return tuple(int(part) for part in profile.input_size.split("x")) if profile.input_size else None


def _data_request(profile: Profile) -> DataRequest:
    bounds = None
    if profile.slice is not None:
        start, _, stop = profile.slice.partition(":")
        bounds = (int(start) if start else None, int(stop) if stop else None)
    return DataRequest(
        spec=profile.data or "memory",
        samples=profile.samples,
        slice=bounds,
        seed=profile.seed,
        root=Path(profile.data_root) if profile.data_root else None,
        offline=profile.offline,
        class_order=profile.class_order,
    )


@contextmanager
def on_device(module: nn.Module, device: torch.device) -> Iterator[None]:
    """The module's tensors on the device; moved back on leaving."""
    first = next(iter([*module.parameters(), *module.buffers()]), None)
    home = first.device if first is not None else device
    module.to(device)
    try:
        yield
    finally:
        module.to(home)


def predict(scene: Scene, progress: Progress) -> Tensor:
    """The model's logits on the clean images: [N, K] on the CPU. Cost: one forward an image."""
    progress.stage("clean predictions", len(scene.dataset))
    logits = []
    for part, batch in scene.batches():
        with torch.no_grad():
            logits += [_full(found.cpu()) for found in in_parts(lambda some: scene.model.module(some.images), batch)]
        progress.advance(part.stop - part.start)
    return torch.cat(logits)


def _full(logits: Tensor) -> Tensor:
    """Half precision as float32: a softmax in it saturates where the model's own confidence does not."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def attack_and_measure(
    scene: Scene,
    planned: Sequence[Run],
    probe: SustainabilityProbe,
    bench: Bench,
    progress: Progress,
    *,
    keep: Sequence[str] = (),
    keep_images: bool = False,
) -> tuple[dict[str, Verdicts], dict[str, Tensor]]:
    """One pass over the data: attack each batch with everything planned, judge, and let the probe look.

    The probe receives what the first run of each measured attack ended with after its whole budget, so that every image
    has had the same number of steps whether or not it was fooled early; verdicts use the first fooling image.

    Args:
        keep: ids of measured perturbations whose images are returned.
        keep_images: keep the judged images with the verdicts.

    Returns:
        Id of the perturbation -> verdicts; id -> the images that the probe saw of those to keep, [N, ...] on the CPU.
    """
    perturbations = [perturbation for run in planned for perturbation in run.perturbations]
    verdicts = {entry.id: Verdicts.empty(entry, len(scene.dataset)) for entry in perturbations}
    kept: dict[str, list[Tensor]] = {name: [] for name in keep}
    progress.stage("attack and measure", len(scene.dataset) * (len(planned) + 1))
    for part, batch in scene.batches():
        size = part.stop - part.start
        finals: dict[str, Tensor] = {}
        for run in planned:
            for judged in judge_run(bench, batch, run):
                verdicts[judged.perturbation.id].store(part, judged, batch.images, keep_images=keep_images)
                if run.measured:
                    finals[judged.perturbation.id] = judged.outcome.final
            progress.advance(size)
        probe.observe(batch.images, finals, scene.batch_size)
        for name, images in kept.items():
            images.append(finals[name].cpu())
        progress.advance(size)
    return verdicts, {name: torch.cat(images) for name, images in kept.items()}


def make_bench(scene: Scene, graph: Graph, planned: Sequence[Perturbation], profile: Profile, place: Runtime) -> Bench:
    """How attacks query the model.

    Raises:
        UsageError: a layer attack names no layer, or several; low precision without CUDA.
    """
    views = {}
    for name in dict.fromkeys(entry.layer for entry in planned if entry.layer is not None):
        chosen = select(graph.layers, name)
        if len(chosen) != 1:
            raise UsageError(f"layer-pgd moves one layer, and {name} names {len(chosen)}", "give a layer's whole name")
        views[name] = taps.view(graph, chosen[0])
    precision = None if profile.precision == "float32" else profile.precision
    if precision is not None and place.device.type != "cuda":
        raise UsageError(f"--precision {precision} needs CUDA", f"leave it out on {place.device.type}")
    module = scene.model.module
    compiled = compiled_or_none(module, scene.dataset.images(0, 2), place) if profile.compile else None
    return Bench(module, profile.seed, Engine(precision, compiled), views)


def in_training(subject: Subject) -> int:
    """How many layers of a module in memory are in training mode; 0 for a model that is loaded."""
    return sum(child.training for child in subject.modules()) if isinstance(subject, nn.Module) else 0
