"""Which classes a targeted attack aims at, and which images still need work."""

from __future__ import annotations

import torch
from torch import Tensor

from .target import Target

CLASSES = 9


def likely_classes(target: Target, rows: Tensor, classes: int = CLASSES) -> Tensor:
    """The likeliest other classes of each clean image, [n, T], T at least 1 and at most `classes`.

    Masked classes, whose logit is minus infinity, are no aim: T is the largest number of others that an image has, and
    an image with fewer has its likeliest one again. Cost: one forward an image.
    """
    logits = target.logits(target.images[rows], rows)
    others = logits.scatter(1, target.labels[rows][:, None], -torch.inf)
    open_classes = int((others > -torch.inf).sum(1).max()) if len(rows) else 1
    found = others.topk(min(classes, max(open_classes, 1)), dim=1)
    return torch.where(found.values > -torch.inf, found.indices, found.indices[:, :1])


def positions(active: Tensor, rows: Tensor) -> Tensor:
    """Where the active rows of the batch stand in `rows`."""
    return torch.isin(rows, active).nonzero().flatten()
