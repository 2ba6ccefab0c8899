"""What a scan says of its own attacks: the outputs, the gradients, and an unbounded attack on what withstood."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..attacks import ATTACKS, health
from ..attacks.base import Batch
from ..records import ModelHealth
from .attacking import in_parts
from .stages import Evaluation
from .verdicts import Verdicts, comparisons


def examine(
    evaluation: Evaluation, logits: Tensor, verdicts: Mapping[str, Verdicts], seed: int, given_in_training: int
) -> ModelHealth:
    """What the clean logits [N, K], a repeated forward, and an unbounded attack on what withstood say of the model."""
    module = evaluation.model.module
    _, first = next(evaluation.batches())
    attacked = any(
        entry.perturbation.kind == "attack" and ATTACKS[entry.perturbation.name].gradients
        for entry in verdicts.values()
    )
    repeated = health.repeat_difference(module, first.images)
    trial = slopes = None
    if attacked:
        trial = health.unbounded(module, _withstood(evaluation, verdicts, health.UNBOUNDED_IMAGES), seed)
        hardest = _hardest(evaluation, verdicts, health.SLOPE_IMAGES)
        tried = [in_parts(lambda part: health.slopes(module, part, repeated), batch) for batch in hardest]
        slopes = health.joined([part for parts in tried for part in parts])
    return ModelHealth(
        outputs=health.outputs_are(logits),
        saturated=int(health.saturated(logits).sum()),
        at_bounds=health.at_bounds(logits),
        repeat_difference=repeated,
        training_layers=health.training_layers(module),
        given_in_training=given_in_training,
        unbounded=trial,
        slopes=slopes,
        comparisons=comparisons(verdicts, evaluation.right.numpy()),
    )


def _withstood(evaluation: Evaluation, verdicts: Mapping[str, Verdicts], most: int) -> list[Batch]:
    """The first images, at most `most`, that are right before and after every attack, in batches."""
    left = evaluation.right.numpy().copy()
    for entry in verdicts.values():
        left &= entry.right
    return _batches_of(evaluation, np.flatnonzero(left)[:most])


def _hardest(evaluation: Evaluation, verdicts: Mapping[str, Verdicts], most: int) -> list[Batch]:
    """At most `most` images that are right before: those that withstood the most attacks, in batches."""
    right = np.flatnonzero(evaluation.right.numpy())
    stood = np.sum([entry.right[right] for entry in verdicts.values()], axis=0)
    return _batches_of(evaluation, np.sort(right[np.argsort(-stood, kind="stable")[:most]]))


def _batches_of(evaluation: Evaluation, chosen: NDArray[np.int64]) -> list[Batch]:
    batches = []
    for part, batch in evaluation.batches():
        here = chosen[(chosen >= part.start) & (chosen < part.stop)] - part.start
        if len(here):
            batches.append(batch.of(torch.from_numpy(here).to(evaluation.device)))
    return batches
