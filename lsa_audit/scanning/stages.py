"""The stages of a scan that touch tensors: loading, clean predictions, and the one pass that attacks and measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..attacks.base import Batch, Engine
from ..data.base import Dataset
from ..device.runtime import Runtime, compiled_or_none
from ..errors import UsageError
from ..graph import taps
from ..graph.base import Graph
from ..graph.select import select
from ..measurements.sustainability import SustainabilityProbe
from ..models.base import Model
from ..progress import Progress
from ..records import Perturbation
from ..settings.profile import Profile
from .attacking import AttackRunner, in_parts
from .attacking import verdicts as judge_run
from .plan import Run
from .verdicts import Verdicts


@dataclass(frozen=True)
class Evaluation:
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


def predict(evaluation: Evaluation, progress: Progress) -> Tensor:
    """The model's logits on the clean images: [N, K] on the CPU. Cost: one forward an image."""
    progress.stage("clean predictions", len(evaluation.dataset))
    logits = []
    for part, batch in evaluation.batches():
        with torch.no_grad():
            logits += [
                _full(found.cpu()) for found in in_parts(lambda some: evaluation.model.module(some.images), batch)
            ]
        progress.advance(part.stop - part.start)
    return torch.cat(logits)


def _full(logits: Tensor) -> Tensor:
    """Half precision as float32: a softmax in it saturates where the model's own confidence does not."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def attack_and_measure(
    evaluation: Evaluation,
    planned: Sequence[Run],
    probe: SustainabilityProbe,
    runner: AttackRunner,
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
    verdicts = {entry.id: Verdicts.empty(entry, len(evaluation.dataset)) for entry in perturbations}
    kept: dict[str, list[Tensor]] = {name: [] for name in keep}
    progress.stage("attack and measure", len(evaluation.dataset) * (len(planned) + 1))
    for part, batch in evaluation.batches():
        size = part.stop - part.start
        finals: dict[str, Tensor] = {}
        for run in planned:
            for judged in judge_run(runner, batch, run):
                verdicts[judged.perturbation.id].store(part, judged, batch.images, keep_images=keep_images)
                if run.measured:
                    finals[judged.perturbation.id] = judged.outcome.final
            progress.advance(size)
        probe.observe(batch.images, finals, evaluation.batch_size)
        for name, images in kept.items():
            images.append(finals[name].cpu())
        progress.advance(size)
    return verdicts, {name: torch.cat(images) for name, images in kept.items()}


def make_runner(
    evaluation: Evaluation, graph: Graph, planned: Sequence[Perturbation], profile: Profile, place: Runtime
) -> AttackRunner:
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
    module = evaluation.model.module
    compiled = compiled_or_none(module, evaluation.dataset.images(0, 2), place) if profile.compile else None
    return AttackRunner(module, profile.seed, Engine(precision, compiled), views)
