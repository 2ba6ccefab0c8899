"""The parts that a training step is made of, and how they fit together.

A base (`BASES`) makes perturbed images and turns logits into a loss; a regulariser (`REGULARIZERS`) adds to that loss,
or moves hidden layers in the forward on the perturbed images. Any base goes with any regulariser.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ...graph.taps import Visitor
from ...graph.training import TrainedGraph

EMPTY: Mapping[str, Visitor] = {}


@dataclass(frozen=True)
class TrainingBatch:
    """What one forward and backward of training sees.

    Attributes:
        images: [N, ...] float32 in [0, 1], augmented.
        labels: [N] int64.
        draw: a function from a purpose and a shape [N, ...] to numbers uniform in [0, 1), the same for an image
            whatever process or micro-batch it is in.
        epsilon: of this step, in pixel units.
        progress: of the training in epochs; 1.5 is the middle of the second.
    """

    images: Tensor
    labels: Tensor
    draw: Callable[[str, tuple[int, ...]], Tensor]
    epsilon: float
    progress: float


State = dict[str, Any]


class Examples(ABC):
    """Makes the perturbed images of a base attack.

    Attributes:
        replays: how often each batch is trained on.
        learns: whether it wants the gradient by the perturbed images of each backward that trains.
    """

    replays: int = 1
    learns: bool = False

    @abstractmethod
    def perturb(self, trainee: TrainedGraph, batch: TrainingBatch) -> Tensor:
        """Images [N, ...] in the ball of `batch.epsilon` around the batch and in [0, 1], detached.

        The trainee is queried as in evaluation, unless the base says otherwise; no gradient of a parameter is left.
        """

    def after(self, gradient: Tensor, batch: TrainingBatch) -> None:  # noqa: B027 - most learn nothing
        """Take in the gradient [N, ...] of the loss by what `perturb` gave for this batch."""

    def state(self) -> State:
        """What a checkpoint must hold."""
        return {}

    def load(self, state: State) -> None:  # noqa: B027 - most hold nothing
        """Go on from there."""


class Objective(Protocol):
    """Turns logits into the loss of the base."""

    needs_clean: bool
    """Whether it looks at the logits of the clean images."""

    def loss(self, perturbed: Tensor, clean: Tensor | None, labels: Tensor) -> Tensor:
        """The mean loss, a scalar, of logits [N, K] on perturbed images, and on the clean ones where it needs them."""


class Regularizer(Protocol):
    """What a layer-wise method adds."""

    layers: tuple[str, ...]
    """Layers whose values are wanted from the clean and from the perturbed forward; empty: no clean forward for it."""

    def injections(self, trainee: TrainedGraph, perturbed: Tensor, batch: TrainingBatch) -> Mapping[str, Visitor]:
        """What moves hidden layers in the forward on the perturbed images, by layer; empty for nothing."""

    def penalty(self, clean: Mapping[str, Tensor], perturbed: Mapping[str, Tensor]) -> Tensor | None:
        """What is added to the loss, from the values [N, D] of `layers`; None for nothing."""


class Nothing:
    """No regulariser."""

    layers: tuple[str, ...] = ()

    def injections(self, trainee: TrainedGraph, perturbed: Tensor, batch: TrainingBatch) -> Mapping[str, Visitor]:  # noqa: ARG002
        """Nothing is moved."""
        return EMPTY

    def penalty(self, clean: Mapping[str, Tensor], perturbed: Mapping[str, Tensor]) -> Tensor | None:  # noqa: ARG002
        """Nothing is added."""
        return None


def input_gradient(values: Tensor, images: Tensor) -> Tensor:
    """The gradient of the sum of values [N] by the images; entries that are not finite or not there become 0."""
    if not values.requires_grad:
        return torch.zeros_like(images)
    (gradient,) = torch.autograd.grad(values.sum(), images, materialize_grads=True)
    return gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
