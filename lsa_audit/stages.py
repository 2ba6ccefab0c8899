"""The stages of a scan that touch tensors: loading, clean predictions, and the one pass that attacks and measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import data, models
from .attacks import ATTACKS
from .attacks.base import Batch, Outcome, judge
from .attacks.budget import Budget
from .attacks.functions import FUNCTIONS
from .attacks.norms import lengths
from .data.base import DataRequest, Dataset, InputSpec
from .errors import UsageError
from .models.base import Model, fit
from .models.request import ModelRequest
from .models.state import preserved
from .probes.dropout import DropoutProbe
from .probes.sustainability import SustainabilityProbe
from .profile import Profile
from .progress import Progress
from .records import AttackResult, Perturbation
from .statistics import estimate

WALK_IMAGES = 3


@dataclass(frozen=True)
class Scene:
    """What the stages share: the model on its device, the images, and what counts as right ([N] int64 on the CPU)."""

    model: Model
    dataset: Dataset
    labels: Tensor
    device: torch.device
    batch_size: int

    def batches(self) -> Iterator[tuple[slice, Batch]]:
        """The data in its own order, on the device."""
        for start in range(0, len(self.dataset), self.batch_size):
            part = slice(start, min(start + self.batch_size, len(self.dataset)))
            images = self.dataset.images(part.start, part.stop).to(self.device)
            yield part, Batch(images, self.labels[part].to(self.device), self.dataset.image_ids[part])


@dataclass(frozen=True)
class Probes:
    """What is measured on the batches while they are attacked.

    Attributes:
        dropout_id: id of the perturbation on whose images neurons are dropped; empty where none are.
    """

    sustainability: SustainabilityProbe
    dropout: tuple[DropoutProbe, ...]
    dropout_id: str


@dataclass(frozen=True)
class Verdicts:
    """The judge's verdicts on one perturbation over all N images."""

    right: NDArray[np.bool_]
    nonfinite: NDArray[np.bool_]
    zero_gradient: NDArray[np.bool_]
    linf: NDArray[np.float64]
    l2: NDArray[np.float64]
    calls: list[int]

    @classmethod
    def empty(cls, samples: int) -> Verdicts:
        """No verdicts yet on `samples` images."""

        def flags() -> NDArray[np.bool_]:
            return np.zeros(samples, dtype=np.bool_)

        return cls(flags(), flags(), flags(), np.zeros(samples), np.zeros(samples), [0, 0])

    def store(self, part: slice, outcome: Outcome, images: Tensor) -> None:
        """Add the outcome of one batch."""
        self.right[part] = outcome.right.cpu().numpy()
        self.nonfinite[part] = outcome.nonfinite.cpu().numpy()
        self.zero_gradient[part] = outcome.zero_gradient.cpu().numpy()
        delta = outcome.adversarial - images
        self.linf[part] = lengths(delta, "linf").flatten().cpu().numpy()
        self.l2[part] = lengths(delta, "l2").flatten().cpu().numpy()
        self.calls[0] += outcome.forwards
        self.calls[1] += outcome.backwards

    def result(self, perturbation: Perturbation, clean_right: NDArray[np.bool_]) -> AttackResult:
        """The summary for the record; an image counts as robust when it is right before and after."""
        robust = clean_right & self.right
        return AttackResult(
            perturbation=perturbation,
            robust_accuracy=estimate(int(robust.sum()), len(robust)),
            fooled=int((clean_right & ~self.right).sum()),
            nonfinite=int(self.nonfinite.sum()),
            zero_gradient=int((robust & self.zero_gradient).sum()),
            forwards=self.calls[0],
            backwards=self.calls[1],
            mean_linf=float(self.linf.mean()),
            mean_l2=float(self.l2.mean()),
        )


def load(subject: str | nn.Module, profile: Profile, arrays: tuple[Any, Any] | None = None) -> tuple[Model, Dataset]:
    """Model and data, fitted to each other: the model has run once on real images.

    Raises:
        AuditError: either cannot be loaded, or they do not fit.
    """
    model = load_model(subject, profile)
    wanted = model.preprocessing
    spec = InputSpec(wanted.input_shape, wanted.channels, wanted.interpolation, wanted.crop_share)
    request = _data_request(profile)
    if arrays is not None:
        dataset = data.from_arrays(*arrays, spec, request)
    elif profile.data is None:
        raise UsageError("no data given", "name a data set, a folder or an .npz file with --data, or in the profile")
    else:
        dataset = data.load(request, spec)
    return _fitted(model, dataset.images(0, 2)), dataset


def load_without_data(subject: str | nn.Module, profile: Profile) -> tuple[Model, Tensor]:
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


def _fitted(model: Model, images: Tensor) -> Model:
    with preserved(model.module):
        return fit(model, images)


def load_model(subject: str | nn.Module, profile: Profile) -> Model:
    """The model alone, not yet run.

    Raises:
        AuditError: it cannot be loaded.
    """
    shape = tuple(int(part) for part in profile.input_size.split("x")) if profile.input_size else None
    if isinstance(subject, nn.Module):
        return models.from_module(subject, mean=profile.mean, std=profile.std, input_shape=shape)
    request = ModelRequest(
        spec=subject,
        arch=profile.arch,
        checkpoint=Path(profile.checkpoint) if profile.checkpoint else None,
        random_weights=profile.random_weights,
        seed=profile.seed,
        mean=profile.mean,
        std=profile.std,
        input_shape=shape,
        layout=profile.layout,
        classes=profile.classes,
        limits=profile.limits,
        allow_code=profile.allow_code,
        trusted=frozenset(profile.trusted),
        arguments=profile.model_args,
    )
    return models.load(request)


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
    """The model's clean predictions: [N] int64 on the CPU. Cost: one forward an image."""
    progress.stage("clean predictions", len(scene.dataset))
    predictions = []
    for part, batch in scene.batches():
        with torch.no_grad():
            predictions.append(scene.model.module(batch.images).argmax(1).cpu())
        progress.advance(part.stop - part.start)
    return torch.cat(predictions)


def take_reference(scene: Scene, probes: Sequence[DropoutProbe], progress: Progress) -> None:
    """Show the clean images to the dropout probes, for the means of their neurons. Cost: one forward an image each."""
    progress.stage("reference means", len(scene.dataset))
    for part, batch in scene.batches():
        for probe in probes:
            probe.reference(batch.images)
        progress.advance(part.stop - part.start)


def attack_and_measure(
    scene: Scene, planned: Sequence[Perturbation], probes: Probes, seed: int, progress: Progress
) -> dict[str, Verdicts]:
    """One pass over the data: attack each batch with everything planned, judge, and let the probes look.

    The probes receive what the first run of each attack ended with after its whole budget, so that every image has had
    the same number of steps whether or not it was fooled early; verdicts use the first fooling image.

    Returns:
        Id of the perturbation -> verdicts.
    """
    verdicts = {perturbation.id: Verdicts.empty(len(scene.dataset)) for perturbation in planned}
    progress.stage("attack and measure", len(scene.dataset) * (len(planned) + 1))
    for part, batch in scene.batches():
        size = part.stop - part.start
        finals: dict[str, Tensor] = {}
        for perturbation in planned:
            outcome = _judge(scene, batch, perturbation, seed)
            verdicts[perturbation.id].store(part, outcome, batch.images)
            finals[perturbation.id] = outcome.final
            progress.advance(size)
        probes.sustainability.observe(batch.images, finals, scene.batch_size)
        for probe in probes.dropout:
            probe.observe(batch.images, finals[probes.dropout_id], batch.labels)
        progress.advance(size)
    return verdicts


def _judge(scene: Scene, batch: Batch, perturbation: Perturbation, seed: int) -> Outcome:
    budget = Budget(
        norm=perturbation.norm,
        epsilon=perturbation.epsilon,
        steps=perturbation.steps,
        step_size=perturbation.step_size,
        restarts=perturbation.restarts,
        spend_all=True,
    )
    gradients = ATTACKS[perturbation.name].gradients
    return judge(scene.model.module, FUNCTIONS[perturbation.name], batch, budget, seed=seed, gradients=gradients)
