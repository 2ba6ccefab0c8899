"""Model and data from what the user names, fitted to each other: the model has run once on real images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import data, models
from ..data import order
from ..data.base import DataRequest, Dataset, InputSpec
from ..data.labels import shifted
from ..errors import ModelError, UsageError
from ..models.base import Model, Opaque
from ..models.deciding import VALUE_IMAGES
from ..models.fitting import decided, fit
from ..models.given import refusal, unwrapped
from ..models.pinning import changing, told
from ..models.request import ModelRequest
from ..models.seeding import seeded
from ..models.state import preserved
from ..progress import Progress
from ..settings.profile import Profile

WALK_IMAGES = 3

Subject = str | nn.Module | torch.export.ExportedProgram | Model
"""The spec of a model, a network or program in memory, or a model that is loaded already."""

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
    if isinstance(subject, str):
        try:
            subject.encode()
        except UnicodeEncodeError:
            # It could not stand in the record.
            raise ModelError("the name of the model is no UTF-8 text", "rename the file, or give a link") from None
        return models.load(model_request(subject, profile))
    subject = unwrapped(subject)
    if isinstance(subject, torch.jit.ScriptModule):
        return models.from_script(subject, model_request("", profile))
    if isinstance(subject, torch.export.ExportedProgram):
        return models.from_program(subject, model_request("", profile))
    if not isinstance(subject, nn.Module):
        raise refusal(subject)
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


def in_training(subject: Subject) -> int:
    """How many layers of a module in memory are in training mode; 0 for a model that is loaded."""
    if not isinstance(subject, nn.Module):
        return 0
    # A frozen TorchScript module has no such flag.
    return sum(getattr(child, "training", False) for child in subject.modules())
