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
    Differs from the source: two classes have no third; the plain difference is taken. So it is where all but two
    classes are masked, with logits of minus infinity.
    """
    ordered = logits.sort(dim=1, descending=True).values
    first_is_label = logits.argmax(1) == labels
    apart = ordered[:, 1].where(first_is_label, ordered[:, 0]) - _of(logits, labels)
    if logits.shape[1] < 3:
        return apart
    return _over(apart, ordered[:, 0], ordered[:, 2])


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """-(z_y - z_t) / (z_1st - (z_3rd + z_4th) / 2).

    Source: Croce, Hein, ICML 2020, arXiv 2003.01690, eq. 7.
    Differs from the source: with three classes it would divide by z_1st - z_3rd and be constant towards the third;
    three and two classes have the plain difference, and so have images of which all but three are masked.
    """
    apart = difference(logits, labels, targets)
    if logits.shape[1] < 4:
        return apart
    ordered = logits.sort(dim=1, descending=True).values
    return _over(apart, ordered[:, 0], ordered[:, 2:4].mean(1))


def _over(apart: Tensor, first: Tensor, later: Tensor) -> Tensor:
    """The ratio of a difference to how far the first logit is from later ones; the difference where these are masked.

    Selected before the division: what is not used must not turn the gradient into NaN.
    """
    masked = ~torch.isfinite(later)
    spread = torch.where(masked, 1.0, (first - later.masked_fill(masked, 0.0)).clamp_min(TINY))
    return apart / spread


def log_odds(logits: Tensor, labels: Tensor, _targets: Tensor) -> Tensor:
    """log sum_{i != y} exp(z_i) - z_y, in float64 (but on MPS).

    It rises wherever the cross-entropy does, and never goes flat.
    """
    exact = logits if logits.device.type == "mps" else logits.double()
    return exact.scatter(1, labels[:, None], -torch.inf).logsumexp(1) - _of(exact, labels)


def margin(logits: Tensor, labels: Tensor, _targets: Tensor) -> Tensor:
    """z_y - max_{i != y} z_i: negative where the image is misclassified."""
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return _of(logits, labels) - others


def difference(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """z_t - z_y: the decision boundary between the target and the label is where it is 0."""
    return _of(logits, targets) - _of(logits, labels)


def _of(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None]).flatten()
