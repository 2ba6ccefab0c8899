"""Which classes a targeted attack aims at, and which images still need work."""

from __future__ import annotations

import torch
from torch import Tensor

from .target import Target

CLASSES = 9


def likely_classes(target: Target, rows: Tensor, classes: int = CLASSES) -> Tensor:
    """The likeliest other classes of each clean image, [n, min(classes, K - 1)]. Cost: one forward an image."""
    logits = target.logits(target.images[rows], rows)
    others = logits.scatter(1, target.labels[rows][:, None], -torch.inf)
    return others.topk(min(classes, logits.shape[1] - 1), dim=1).indices


def positions(active: Tensor, rows: Tensor) -> Tensor:
    """Where the active rows of the batch stand in `rows`."""
    return torch.isin(rows, active).nonzero().flatten()
