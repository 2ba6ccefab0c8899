"""Re-judges the stored verdicts of a run: every saved image goes through the model again, in float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..attacks.norms import BALL_TOLERANCE, lengths, reaches
from ..attacks.objectives import margin
from ..data.base import Dataset
from ..data.base import describe as describe_data
from ..data.labels import choose_labels
from ..device.runtime import default_batch_size, runtime
from ..errors import DataError, UsageError
from ..models.answers import NO_ANSWER, is_right, predicted
from ..models.base import Model
from ..models.base import describe as describe_model
from ..models.failures import forward_failures
from ..models.state import preserved
from ..progress import Progress
from ..records import AttackResult, AuditRecord, Norm, Perturbation, Record
from ..records.verification import Checked, Images, VerdictDifference, Verification
from ..runs.reading import DAMAGED_HINT, stored
from ..settings.profile import Profile
from ..stats.statistics import estimate, finite
from .attacking import in_parts
from .loading import load
from .plan import perturbations, without_gradients
from .stages import Evaluation, on_device, predict
from .verdicts import Verdicts, digest, from_saved, sweeps

Evidence = Mapping[str, NDArray[Any]]

TIE = 1e-4
"""Verdicts may differ where the label's logit and the best other one are nearer than this share of the largest."""

SHOWN_IDS = 10
FLOAT_AGREEMENT = 1e-6
CLEAN = "clean images"
COMPARED: dict[str, str] = {
    "weights_sha256": "the sha256 of its weights",
    "architecture": "its architecture",
    "input_shape": "its input shape",
    "input_layout": "its input layout",
    "channel_order": "its order of channels",
    "classes": "its number of classes",
    "mean": "its mean",
    "std": "its standard deviation",
}
"""Fields of `ModelInfo` that decide what the model computes, in words."""
MEANING = {"id", "name", "kind", "norm", "epsilon", "minimal", "layer"}
"""Fields of `Perturbation` that decide what a verdict on its images says."""


@forward_failures()
def verify(
    record: AuditRecord,
    evidence: Evidence,
    profile: Profile,
    subject: str | nn.Module,
    progress: Progress,
    arrays: tuple[Any, Any] | None = None,
) -> Verification:
    """Load model and data again, judge every stored image, and compare with the record.

    Compared: model, data, labels, planned perturbations, clean predictions, hashes of the stored images, range, ball,
    verdicts, and every count, interval, distance and sweep that follows from the verdicts. Not compared: what follows
    from gradients or layers.

    Args:
        evidence: the arrays of the run, as `audit` gives and `read_run` reads them.
        profile: the settings of the run.
        subject, arrays: as for `audit`.

    Raises:
        UsageError: the run holds no stored images.
        DataError: arrays are missing or malformed.
        AuditError: model or data cannot be loaded.

    Cost: one forward for each image, clean and stored; one array of stored images in memory.
    """
    unsaved = [entry.perturbation.id for entry in record.attacks if entry.adversarials_sha256 is None]
    if unsaved or not record.attacks:
        missing = unsaved[0] if unsaved else "any attack"
        raise UsageError(f"the run holds no images of {missing}", "scan with --save-adversarials")
    with runtime(profile.device, profile.threads) as place:
        progress.stage("load", 0)
        model, dataset = load(subject, profile, arrays)
        apart = (*_identity(record, model, dataset, profile), *_plan(record, model, profile))
        if apart:
            return Verification(others=apart)
        with preserved(model.module), on_device(model.module, place.device):
            batch_size = profile.batch_size or default_batch_size(model.settled[0], place.device)
            unknown = torch.zeros(len(dataset), dtype=torch.bool)
            evaluation = Evaluation(model, dataset, dataset.labels, place.device, batch_size, unknown)
            evaluation, clean = _clean(evaluation, record, evidence, progress)
            progress.stage("stored images", len(dataset) * len(record.attacks))
            planned = [entry.perturbation for entry in record.attacks]
            verdicts = {entry.id: _verdicts(entry, evidence, len(dataset)) for entry in planned}
            attacked = [
                _checked(evaluation, evidence, verdicts[entry.perturbation.id], entry, profile.seed, progress)
                for entry in record.attacks
            ]
        others = tuple(_sweeps(record, evidence, verdicts, evaluation.right.numpy()))
        return Verification(checks=(clean, *attacked), others=others)


def _identity(record: AuditRecord, model: Model, dataset: Dataset, profile: Profile) -> Iterator[VerdictDifference]:
    """Whether these are the recorded model, data and meaning of right."""
    found = describe_model(model)
    for name, words in COMPARED.items():
        before, now = (getattr(info, name) for info in (record.model, found))
        if before != now:
            yield VerdictDifference(subject="model", what=f"{words} is {now}, recorded is {before}")
    data = describe_data(dataset)
    if (data.samples, data.sha256) != (record.data.samples, record.data.sha256):
        before, now = (f"{info.samples} images with sha256 {info.sha256}" for info in (record.data, data))
        yield VerdictDifference(subject="data", what=f"there are {now}, recorded are {before}")
        return
    source = choose_labels(dataset, model.settled[1], profile.labels).source
    if source != record.labels.source:
        yield VerdictDifference(subject="labels", what=f"they come from {source}, recorded is {record.labels.source}")


def _plan(record: AuditRecord, model: Model, profile: Profile) -> Iterator[VerdictDifference]:
    """Whether the settings give the perturbations that the record holds."""
    planned = perturbations(profile)
    if model.conversion is not None and not model.differentiable:
        planned, _ = without_gradients(planned, model.conversion.opaque)
    expected = {entry.id: entry.model_dump(include=MEANING) for entry in planned}
    found = {entry.perturbation.id: entry.perturbation.model_dump(include=MEANING) for entry in record.attacks}
    for name in [name for name in (expected | found) if expected.get(name) != found.get(name)]:
        what = (
            "recorded otherwise than the settings plan it" if name in found else "planned by the settings, not recorded"
        )
        yield VerdictDifference(subject=name, what=what)
    if len(found) != len(record.attacks):
        yield VerdictDifference(subject="attacks", what="a perturbation is recorded twice")


def _clean(
    evaluation: Evaluation, record: AuditRecord, evidence: Evidence, progress: Progress
) -> tuple[Evaluation, Checked]:
    """The evaluation with the stored labels and verdicts on the clean images, and whether these hold."""
    size, ids = len(evaluation.dataset), evaluation.dataset.image_ids
    predictions = torch.from_numpy(stored(evidence, "clean_predictions", "i", (size,)).astype(np.int64))
    labels = torch.from_numpy(stored(evidence, "labels", "i", (size,)).astype(np.int64))
    if not ((predictions >= NO_ANSWER) & (predictions < evaluation.model.settled[1])).all():
        raise DataError("evidence.npz: clean_predictions holds no classes of the model", DAMAGED_HINT)
    expected = predictions.clamp_min(0) if record.labels.source == "self" else evaluation.dataset.labels
    evaluation = replace(evaluation, labels=expected, right=predictions == expected)
    logits = predict(evaluation, progress)
    apart = predicted(logits) != predictions
    ties = apart & (predictions != NO_ANSWER) & _tied(logits, predictions.clamp_min(0))
    differences = [
        *_about(CLEAN, "the prediction is not the stored one", apart & ~ties, ids),
        *_about(CLEAN, "the stored label is not the data's", labels != expected, ids),
        *_about(CLEAN, "the stored id is another", stored(evidence, "image_ids", "U", (size,)) != np.asarray(ids), ids),
    ]
    if not _alike(record.clean, estimate(int(evaluation.right.sum()), size)):
        differences.append(
            VerdictDifference(subject=CLEAN, what="the recorded accuracy does not follow from the predictions")
        )
    return evaluation, Checked(
        perturbation=CLEAN,
        images=size,
        agree=int((~apart).sum()),
        within_rounding=_images(ties, ids),
        differences=tuple(differences),
    )


def _verdicts(perturbation: Perturbation, evidence: Evidence, size: int) -> Verdicts:
    """The stored verdicts and distances of a perturbation."""
    verdicts = Verdicts.empty(perturbation, size)
    verdicts.right = stored(evidence, f"right/{perturbation.id}", "b", (size,))
    if perturbation.minimal:
        name = f"distance/{perturbation.name}@{perturbation.norm}"
        verdicts.distance = stored(evidence, name, "f", (size,)).astype(np.float64)
    return verdicts


def _checked(
    evaluation: Evaluation, evidence: Evidence, verdicts: Verdicts, result: AttackResult, seed: int, progress: Progress
) -> Checked:
    """The stored images of one perturbation, judged again."""
    perturbation, ids = verdicts.perturbation, evaluation.dataset.image_ids
    name = perturbation.id
    images = stored(evidence, f"adversarial/{name}", "uf", tuple(evaluation.dataset.pixels.shape))
    agrees = digest(images) == result.adversarials_sha256
    judged = _judge(evaluation, images, perturbation.norm, progress)
    apart = judged.right(evaluation.labels) != torch.from_numpy(verdicts.right)
    ties = apart & _tied(judged.logits, evaluation.labels)
    differences = [
        *_about(name, "the verdict is not the stored one", apart & ~ties, ids),
        *_about(name, "a pixel is not finite or outside [0, 1]", ~judged.valid, ids),
        *_about(name, "outside the ball", ~reaches(perturbation.epsilon, judged.distance), ids),
    ]
    if not agrees:
        differences.insert(
            0, VerdictDifference(subject=name, what="the sha256 of the stored images is not the recorded one")
        )
    if perturbation.minimal:
        differences += _nearest(verdicts, judged.distance, evaluation)
    differences += _figures(result, verdicts.result(evaluation.right.numpy(), seed))
    return Checked(
        perturbation=name,
        images=len(ids),
        agree=int((~apart).sum()),
        within_rounding=_images(ties, ids),
        largest_distance=finite(float(judged.distance.max())),
        sha256_agrees=agrees,
        differences=tuple(differences),
    )


@dataclass(frozen=True)
class _Judged:
    """What the model says of N stored images: logits [N, K], distances [N] from the clean ones, valid pixels [N]."""

    logits: Tensor
    distance: Tensor
    valid: Tensor

    def right(self, labels: Tensor) -> Tensor:
        return is_right(self.logits, labels)


def _judge(evaluation: Evaluation, images: NDArray[Any], norm: Norm, progress: Progress) -> _Judged:
    logits, distances, valid = [], [], []
    for part, batch in evaluation.batches():
        saved = torch.from_numpy(from_saved(images[part])).to(evaluation.device)
        with torch.no_grad():
            found = in_parts(lambda some: evaluation.model.module(some.images), replace(batch, images=saved))
        logits += [entry.cpu() for entry in found]
        distances.append(lengths(saved - batch.images, norm).flatten().cpu())
        valid.append(((saved >= 0) & (saved <= 1)).flatten(1).all(1).cpu())
        progress.advance(part.stop - part.start)
    return _Judged(torch.cat(logits), torch.cat(distances), torch.cat(valid))


def _tied(logits: Tensor, classes: Tensor) -> Tensor:
    """[N] whether the logit of the class [N] and the best other one are too near for rounding to leave their order."""
    # Masked classes have a logit of minus infinity, which would make every difference small beside it.
    largest = logits.masked_fill(logits.isneginf(), 0.0).abs().amax(1)
    return margin(logits, classes, classes).abs() < TIE * largest


def _nearest(verdicts: Verdicts, distance: Tensor, evaluation: Evaluation) -> Iterator[VerdictDifference]:
    """Whether the distances of a minimal-norm attack give its verdicts and are those of the stored images."""
    name, ids = verdicts.perturbation.id, evaluation.dataset.image_ids
    claimed = torch.from_numpy(verdicts.distance).float()
    fallen = reaches(verdicts.perturbation.epsilon, claimed)
    expected = evaluation.right & ~fallen
    yield from _about(
        name, "the verdict does not follow from the stored distance", expected != torch.from_numpy(verdicts.right), ids
    )
    apart = ~((claimed - distance).abs() <= BALL_TOLERANCE * (1 + claimed))
    yield from _about(name, "the stored distance is not that of the image", fallen & apart, ids)


def _figures(recorded: AttackResult, expected: AttackResult) -> Iterator[VerdictDifference]:
    """Whether what the record says of a perturbation follows from the stored verdicts."""
    name = recorded.perturbation.id
    if recorded.fooled != expected.fooled or not _alike(recorded.robust_accuracy, expected.robust_accuracy):
        what = f"the recorded figures do not follow from the verdicts: {expected.fooled} are fooled"
        yield VerdictDifference(subject=name, what=what)
    if not _alike(recorded.distances, expected.distances):
        yield VerdictDifference(subject=name, what="the recorded distances do not follow from the stored ones")


def _sweeps(
    record: AuditRecord, evidence: Evidence, verdicts: Mapping[str, Verdicts], clean_right: NDArray[np.bool_]
) -> Iterator[VerdictDifference]:
    found = sweeps(verdicts, clean_right)
    if record.sweeps != tuple(sweep for sweep, _ in found.values()):
        yield VerdictDifference(subject="sweeps", what="the recorded sweeps do not follow from the verdicts")
    for name, (_, broken) in found.items():
        if not np.array_equal(stored(evidence, f"breaking_epsilon/{name}", "f", broken.shape), broken):
            yield VerdictDifference(subject=name, what="the stored breaking epsilons do not follow from the verdicts")


def _about(
    subject: str, what: str, mask: Tensor | NDArray[np.bool_], ids: Sequence[str]
) -> Iterator[VerdictDifference]:
    images = _images(mask, ids)
    if images.count:
        yield VerdictDifference(subject=subject, what=what, images=images)


def _alike(first: Record | None, second: Record | None) -> bool:
    """Whether two flat records hold the same numbers, up to the rounding of another machine."""
    if first is None or second is None:
        return first is second
    pairs = zip(first.model_dump().values(), second.model_dump().values(), strict=True)
    return all(
        one is other
        if one is None or other is None
        else math.isclose(one, other, rel_tol=FLOAT_AGREEMENT, abs_tol=FLOAT_AGREEMENT)
        for one, other in pairs
    )


def _images(mask: Tensor | NDArray[np.bool_], ids: Sequence[str]) -> Images:
    """Those for which the mask [N] is true."""
    places = np.flatnonzero(np.asarray(mask))
    return Images(count=len(places), first_ids=tuple(ids[place] for place in places[:SHOWN_IDS]))
