"""AT-LR: how far chosen layers move under the perturbation becomes a part of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...errors import UsageError
from ...graph.taps import Visitor
from ...graph.training import TrainedGraph
from .base import EMPTY, Examples, Objective, TrainingBatch

TINY = 1e-12
AUTO_SHARE = 0.5
"""Of the base loss, what all penalties together weigh at the start."""


class Atlr:
    """Adds the sum over the layers of gamma_l times the relative error of layer l.

    Both values are learnt: the gradient flows through the clean and through the perturbed forward. Layers with gamma 0
    are not asked for, so that without any other layer the training is that of the base, bit for bit.

    The penalty can also fall while the network gets no more robust: a larger ||phi(x)||, by a bias for instance,
    shrinks every ratio; a saturated layer moves little and hides its gradient; an image whose clean value is all zero
    does not count; and later layers may amplify what is left. Judge the outcome by attacks that were not trained on,
    one of them without gradients, and by the relative errors of all layers.

    Source: Khalooei et al., arXiv 2202.02626, Algorithm 3.
    Differs from the source: the mean of per-image ratios, not a ratio of norms over the batch, as in the audit; and a
    way to set gamma (`auto_gammas`), which the source leaves open.

    Cost: one more forward, on the clean images, unless the base needs it anyway, and its backward.
    """

    def __init__(self, gammas: Mapping[str, float]) -> None:
        """Args: weight of each layer's relative error, 0 or above."""
        self._gammas = {name: gamma for name, gamma in gammas.items() if gamma > 0}
        self.layers: tuple[str, ...] = tuple(self._gammas)

    def injections(self, trainee: TrainedGraph, perturbed: Tensor, batch: TrainingBatch) -> Mapping[str, Visitor]:  # noqa: ARG002
        """Nothing is moved."""
        return EMPTY

    def penalty(self, clean: Mapping[str, Tensor], perturbed: Mapping[str, Tensor]) -> Tensor | None:
        """The weighted sum, a float32 scalar of 0 or above, from values [N, D]; None without a layer."""
        if not self._gammas:
            return None
        terms = [gamma * relative_error(clean[name], perturbed[name]) for name, gamma in self._gammas.items()]
        return torch.stack(terms).sum()


def relative_error(clean: Tensor, perturbed: Tensor) -> Tensor:
    """The mean over the images of ||phi(x') - phi(x)|| / ||phi(x)||, a float32 scalar of 0 or above, with a gradient.

    Where values do not differ the gradient is 0. An image whose clean value is all zero has no relative error and is
    left out of the mean; without any other image the mean is 0.

    Args:
        clean, perturbed: [N, D].
    """
    clean = clean.float()
    moved = torch.linalg.vector_norm(perturbed.float() - clean, dim=1)
    size = torch.linalg.vector_norm(clean, dim=1)
    defined = size > 0
    # Clamped also where the quotient is not used: infinity times 0 would make the gradient NaN.
    ratios = torch.where(defined, moved / size.clamp_min(TINY), 0.0)
    mean: Tensor = ratios.sum() / defined.sum().clamp_min(1)
    return mean


@torch.no_grad()
def auto_gammas(
    trainee: TrainedGraph,
    examples: Examples,
    objective: Objective,
    batches: Sequence[TrainingBatch],
    layers: Sequence[str],
) -> dict[str, float]:
    """Weights with which all penalties together start at half of the base loss, each layer with the same share.

    gamma_l = 0.5 min(J, log K) / (L CM_l), with the base loss J and the relative error CM_l of layer l as means over
    the images of the batches. A model that was never trained against attacks starts far above log K, the loss of
    guessing, and soon leaves that behind: the penalties would outweigh all the rest. A layer that does not move gets 0.
    The model runs as in evaluation, and nothing of it changes.

    Args:
        batches: one at least; their epsilon is that of the training, after any warm-up.
        layers: one name at least, in the order that the result keeps.

    Raises:
        UsageError: no layer moves.

    Cost: for each batch the base attack and two forwards.
    """
    loss = guessing = 0.0
    errors = dict.fromkeys(layers, 0.0)
    for batch in batches:
        with torch.enable_grad():
            images = examples.perturb(trainee, batch)
        clean = trainee.forward(batch.images, layers=layers, logits=objective.needs_clean)
        moved = trainee.forward(images, layers=layers)
        loss += len(images) * float(objective.loss(moved.answer, clean.logits, batch.labels))
        guessing += len(images) * math.log(moved.answer.shape[1])
        for name in layers:
            errors[name] += len(images) * float(relative_error(clean.values[name], moved.values[name]))
    if not any(error > 0 for error in errors.values()):
        raise UsageError("gamma auto: the attack in training moves no layer", "give --gamma a number")
    share = AUTO_SHARE * min(loss, guessing) / len(layers)
    return {name: share / error if error > 0 else 0.0 for name, error in errors.items()}
