"""What gradient attacks raise: one number an image from its logits and its label."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

TINY = 1e-12

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`(logits [N, K], labels [N], targets [N]) -> [N]`; where nothing is targeted the targets are the labels."""


def cross_entropy(logits: Tensor, labels: Tensor, _targets: Tensor) -> Tensor:
    """The cross-entropy of the label."""
    return functional.cross_entropy(logits, labels, reduction="none")


def dlr(logits: Tensor, labels: Tensor, _targets: Tensor) -> Tensor:
    """Difference of logits ratio: -(z_y - max_{i != y} z_i) / (z_1st - z_3rd).

    Neither a shift nor a scaling of the logits changes it, so saturated outputs do not hide its gradient.
    Source: Croce, Hein, ICML 2020, arXiv 2003.01690, eq. 6.
    Differs from the source: two classes have no third; the plain difference is taken.
    """
    ordered = logits.sort(dim=1, descending=True).values
    label = _of(logits, labels)
    first_is_label = logits.argmax(1) == labels
    other = ordered[:, 1].where(first_is_label, ordered[:, 0])
    if logits.shape[1] < 3:
        return other - label
    return (other - label) / (ordered[:, 0] - ordered[:, 2]).clamp_min(TINY)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """-(z_y - z_t) / (z_1st - (z_3rd + z_4th) / 2).

    Source: Croce, Hein, ICML 2020, arXiv 2003.01690, eq. 7.
    Differs from the source: three classes have no fourth, so the third stands alone; two have the plain difference.
    """
    apart = difference(logits, labels, targets)
    if logits.shape[1] < 3:
        return apart
    ordered = logits.sort(dim=1, descending=True).values
    return apart / (ordered[:, 0] - ordered[:, 2:4].mean(1)).clamp_min(TINY)


def margin(logits: Tensor, labels: Tensor, _targets: Tensor) -> Tensor:
    """z_y - max_{i != y} z_i: negative where the image is misclassified."""
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return _of(logits, labels) - others


def difference(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """z_t - z_y: the decision boundary between the target and the label is where it is 0."""
    return _of(logits, targets) - _of(logits, labels)


def _of(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None]).flatten()
