"""How far one way to compute logits is from another."""

from __future__ import annotations

from torch import Tensor

PARITY_TOLERANCE = 1e-4
"""Of the largest logit, between a converted network and the file's own program."""


def relative_difference(logits: Tensor, reference: Tensor) -> float:
    """Largest difference over the largest absolute value of the reference; infinite when the shapes differ."""
    if logits.shape != reference.shape:
        return float("inf")
    difference = float((logits - reference).abs().max())
    scale = float(reference.abs().max())
    return difference / scale if scale > 0 else difference
