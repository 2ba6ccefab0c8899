"""The loss of one batch as a module, so that it can be wrapped for several processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from ...graph.taps import Visitor
from ...graph.training import ForwardResult, TrainedGraph
from ...models.answers import is_right
from .base import Objective, Regularizer


class Loss(NamedTuple):
    """What one forward of training gives; scalars.

    Attributes:
        total: to go down.
        penalty: the regulariser's part of it, detached; None where it adds nothing.
        right: how many perturbed images are classified right.
    """

    total: Tensor
    penalty: Tensor | None
    right: Tensor


class TrainingStep(nn.Module):
    """One forward on perturbed images, and one on the clean ones where the base or the regulariser looks at them.

    Cost: one forward in training mode; a second one for trades, mart and atlr, of atlr only up to its last layer.
    """

    def __init__(
        self, trainee: TrainedGraph, objective: Objective, regularizer: Regularizer, clean_training: bool
    ) -> None:
        super().__init__()
        self.module = trainee.module
        self._trainee = trainee
        self._objective = objective
        self._regularizer = regularizer
        self._clean_training = clean_training

    def forward(self, images: Tensor, perturbed: Tensor, labels: Tensor, visitors: Mapping[str, Visitor]) -> Loss:
        """The loss of images and perturbed images [N, ...] with labels [N].

        Args:
            visitors: what moves hidden layers on the perturbed images.
        """
        layers, needs_clean = self._regularizer.layers, self._objective.needs_clean
        seen = self._trainee.forward(perturbed, training=True, layers=layers, visitors=visitors)
        clean = ForwardResult(None, {})
        if needs_clean or layers:
            clean = self._trainee.forward(images, training=self._clean_training, layers=layers, logits=needs_clean)
        logits = seen.answer.float()
        total = self._objective.loss(logits, None if clean.logits is None else clean.logits.float(), labels)
        penalty = self._regularizer.penalty(clean.values, seen.values)
        right = is_right(logits, labels).sum()
        if penalty is None:
            return Loss(total, None, right)
        return Loss(total + penalty, penalty.detach(), right)
