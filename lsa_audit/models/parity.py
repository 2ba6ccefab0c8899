"""How far one way to compute logits is from another."""

from __future__ import annotations

import torch
from torch import Tensor

PARITY_TOLERANCE = 1e-4
"""Of the largest logit, between a converted network and the file's own program."""


def relative_difference(logits: Tensor, reference: Tensor) -> float:
    """Largest difference over the largest finite absolute value of the reference; infinite when the shapes differ.

    Infinities of one sign at one place are no difference: they are the logits of masked classes.
    """
    if logits.shape != reference.shape:
        return float("inf")
    infinite = torch.isinf(reference)
    if infinite.any():
        if not torch.equal(logits[infinite], reference[infinite]):
            return float("inf")
        logits, reference = logits.masked_fill(infinite, 0), reference.masked_fill(infinite, 0)
    difference = float((logits - reference).abs().max())
    scale = float(reference.abs().max())
    return difference / scale if scale > 0 else difference
