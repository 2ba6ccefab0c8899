"""How each base turns logits into the loss that trains the weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class CrossEntropy:
    """The cross-entropy of the label on the perturbed images."""

    needs_clean = False

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self._label_smoothing = label_smoothing

    def loss(self, perturbed: Tensor, clean: Tensor | None, labels: Tensor) -> Tensor:  # noqa: ARG002 - the contract
        """See `Objective.loss`."""
        return functional.cross_entropy(perturbed, labels, label_smoothing=self._label_smoothing)


class Trades:
    """CE(x, y) + beta * KL(p(x) || p(x')), each the mean over the batch.

    Source: Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML 2019, arXiv
    1901.08573; beta is 1 / lambda there.
    Differs from the source: labels may be smoothed.
    """

    needs_clean = True

    def __init__(self, beta: float, label_smoothing: float = 0.0) -> None:
        self._beta = beta
        self._label_smoothing = label_smoothing

    def loss(self, perturbed: Tensor, clean: Tensor | None, labels: Tensor) -> Tensor:
        """See `Objective.loss`.

        Raises:
            ValueError: there are no clean logits.
        """
        clean = _given(clean)
        right = functional.cross_entropy(clean, labels, label_smoothing=self._label_smoothing)
        return right + self._beta * divergence(clean, perturbed).mean()


class Mart:
    """BCE(x', y) + beta * KL(p(x) || p(x')) * (1 - p_y(x)), the mean over the batch.

    BCE is -log p_y(x') - log(1 - max_{i != y} p_i(x')): images that are misclassified weigh more in both terms.
    Source: Wang et al., "Improving adversarial robustness requires revisiting misclassified examples", ICLR 2020,
    OpenReview rklOg6EFwS, eq. 11.
    Differs from the source: both logarithms come from the logits, so that saturated ones keep a finite loss and a
    gradient; labels may be smoothed in the first of them.
    """

    needs_clean = True

    def __init__(self, beta: float, label_smoothing: float = 0.0) -> None:
        self._beta = beta
        self._label_smoothing = label_smoothing

    def loss(self, perturbed: Tensor, clean: Tensor | None, labels: Tensor) -> Tensor:
        """See `Objective.loss`.

        Raises:
            ValueError: there are no clean logits.
        """
        clean = _given(clean)
        right = functional.cross_entropy(perturbed, labels, label_smoothing=self._label_smoothing)
        others = perturbed.scatter(1, labels[:, None], -torch.inf)
        rival = others.argmax(1, keepdim=True)
        rest = perturbed.scatter(1, rival, -torch.inf)
        margin = perturbed.logsumexp(1) - rest.logsumexp(1)
        doubt = 1 - clean.softmax(1).gather(1, labels[:, None]).flatten()
        return right + (margin + self._beta * divergence(clean, perturbed) * doubt).mean()


def divergence(clean: Tensor, perturbed: Tensor) -> Tensor:
    """KL(p(x) || p(x')) of each image, [N], from logits [N, K]; at least 0."""
    before, after = clean.log_softmax(1), perturbed.log_softmax(1)
    return functional.kl_div(after, before, reduction="none", log_target=True).sum(1)


def _given(clean: Tensor | None) -> Tensor:
    if clean is None:
        raise ValueError("this objective needs the logits of the clean images")
    return clean
