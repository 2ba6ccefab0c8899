"""Whether a model that is to be hardened is as good as when it was scanned: else its options are others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from ..data.base import Dataset, sha256
from ..errors import AuditError, UsageError
from ..models.base import Model, weights_sha256
from ..records import AuditRecord
from ..runs.reading import stored
from ..scanning.loading import load_data
from ..settings.profile import Profile
from ..stats.statistics import mcnemar_loss
from ..units import format_percent

FAR = 0.02
SIGNIFICANCE = 0.05
"""One-sided."""
BATCH = 100
IMAGES = ("data", "samples", "slice", "seed", "data_root", "offline")
"""The settings that say which images a scan took."""


@dataclass(frozen=True)
class Scanned:
    """A scan of the model.

    Attributes:
        name: of its folder, as it is shown.
        record, evidence: as `read_run` reads them.
        profile: of its settings those that say which images it took.
        taken: whether data and options of the model come from it; otherwise it only counts where its weights are the
            same.
        unlike: each option of the model that differs from the scan's, in words.
    """

    name: str
    record: AuditRecord
    evidence: Mapping[str, NDArray[Any]]
    profile: Profile
    taken: bool
    unlike: tuple[str, ...] = ()


def check(model: Model, profile: Profile, scanned: Scanned, device: torch.device) -> None:
    """Refuse a model whose clean accuracy is far below that of its scan, on the scan's images.

    Far below: more than 2 points, and significantly so at 5 %, one-sided; by the exact McNemar test image by image
    where the images are the very same, else by Fisher's exact test of the two counts.

    Args:
        model: fitted, on the device.
        profile: with which it was loaded.

    Raises:
        UsageError: it is.
        AuditError: the scan's data, from which it is to be trained, cannot be loaded.

    Cost: one forward an image of the scan.
    """
    record = scanned.record
    if not scanned.taken and weights_sha256(model.module.network) != record.model.weights_sha256:
        return
    try:
        dataset = load_data(model, profile.model_copy(update={name: getattr(scanned.profile, name) for name in IMAGES}))
    except AuditError:
        if scanned.taken:
            raise
        return
    answers = _answers(model, dataset, device)
    found = _paired(answers, dataset, scanned)
    if found is None:
        if record.labels.source == "self":
            return
        count, total = int((answers == dataset.labels).sum()), len(dataset)
        before, together = record.clean, record.clean.count + count
        p_value = float(stats.hypergeom.cdf(count, before.total + total, together, total))
        found = before.count / before.total, count / total, p_value
    then, now, p_value = found
    if then - now > FAR and p_value < SIGNIFICANCE:
        raise UsageError(
            f"{format_percent(now)} of the {len(dataset):,} images of the scan {scanned.name} are right without "
            f"attack, in the scan it was {format_percent(then)}: the model does not run as it did there",
            _way_out(scanned),
        )


def _paired(answers: Tensor, dataset: Dataset, scanned: Scanned) -> tuple[float, float, float] | None:
    """Shares right then and now and the p-value; None where the images are others or the evidence was not kept."""
    total = len(dataset)
    if sha256(dataset) != scanned.record.data.sha256:
        return None
    try:
        labels, before = (stored(scanned.evidence, name, "iu", (total,)) for name in ("labels", "clean_predictions"))
    except AuditError:
        return None
    then, now = before == labels, answers.numpy() == labels
    lost, gained = int((then & ~now).sum()), int((now & ~then).sum())
    return float(then.mean()), float(now.mean()), float(mcnemar_loss(lost, gained))


def _answers(model: Model, dataset: Dataset, device: torch.device) -> Tensor:
    """[N] the class of each image; -1 where the logits are not finite."""
    found = []
    for start in range(0, len(dataset), BATCH):
        with torch.no_grad():
            logits = model.module(dataset.images(start, start + BATCH).to(device)).float().cpu()
        found.append(torch.where(logits.isnan().any(1), -1, logits.argmax(1)))
    return torch.cat(found)


def _way_out(scanned: Scanned) -> str:
    if scanned.unlike:
        return f"{'; '.join(scanned.unlike)}: give the scan's, or leave out --data, and they are taken from it"
    return "scan the model again as it is now, or name data and options with --data, --mean, --std ..."
