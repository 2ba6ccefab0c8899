"""A short trial of the usual mistakes with images and labels: would another reading make far more images right?

It runs after the attacks, on what nobody stated, and changes nothing: neither the model nor any figure.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...models.assembly import RANDOM_NOTE
from ...records import AttackResult, LabelInfo
from ...records.plausibility import Plausibility
from ...stats.statistics import estimate
from ...units import DARK
from ..stages import Evaluation
from .candidates import candidates
from .orders import other_orders
from .trial import IMAGES, ReadingTrial, held

__all__ = ["FLOOR", "FLOOR_IMAGES", "IMAGES", "SHARE", "SUSPICIOUS", "examine", "passes_made"]

SHARE = 0.05
"""Of the forward and backward passes of the attacks, the clean predictions and the measurement of layers."""
SUSPICIOUS = 0.85
"""Clean accuracy, at the upper end of its interval, below which the short scan of a few images is no excuse."""
FLOOR, FLOOR_IMAGES = 400, 6
"""Passes that a suspicious accuracy, or very dark images, allow whatever the share: in all, and for each image."""
ROOM = 0.05
"""Share of wrong images below which no alternative could gain what the finding asks for."""


def passes_made(evaluation: Evaluation, attacks: Sequence[AttackResult], measured: int) -> int:
    """Images that the scan sent forward or backward, at least, when its layers were measured under so many attacks."""
    images = len(evaluation.dataset)
    # The clean predictions, two more forwards of the first batch, and the clean and the attacked ones for the layers.
    forwards = images + 2 * min(images, evaluation.batch_size) + (images * (1 + measured) if measured else 0)
    return forwards + sum(result.forwards + result.backwards for result in attacks)


def examine(evaluation: Evaluation, labels: LabelInfo, predictions: Tensor, passes: int) -> Plausibility | None:
    """Hold the reading of the scan against the usual others.

    Args:
        predictions: int64 [N], of the clean images.
        passes: that the scan made.

    Returns:
        None where the labels are the model's own: every reading then has them right.

    Cost: at most IMAGES for each alternative, and in all SHARE of `passes`, or up to FLOOR where the accuracy is
    suspicious. Random: a generator of its own.
    """
    if labels.source == "self":
        return None
    right, count = int(evaluation.right.sum()), len(evaluation.right)
    largest = evaluation.dataset.largest_pixel
    suspicious = estimate(right, count).high < SUSPICIOUS or largest <= DARK
    allowed = max(int(SHARE * passes), min(FLOOR, FLOOR_IMAGES * count) if suspicious else 0)
    if RANDOM_NOTE in evaluation.model.notes:
        return Plausibility(passes=0, allowed=allowed, note="the weights are random")
    if 1 - right / count < ROOM:
        return Plausibility(passes=0, allowed=allowed, note="nearly all images are right")
    trial = ReadingTrial(evaluation, allowed)
    orders = other_orders(evaluation, predictions)
    sample = trial.images(trial.chosen)
    possible = candidates(evaluation.model, sample, largest, suspicious=suspicious)
    tried = trial.run(possible, also=len(orders))
    tried += [held(candidate, evaluation.right, right_then, trial.tests) for candidate, right_then in orders]
    return Plausibility(alternatives=tuple(tried), passes=trial.passes, allowed=allowed, note=trial.note)
