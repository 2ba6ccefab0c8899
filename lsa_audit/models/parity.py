"""How far one way to compute logits is from another."""

from __future__ import annotations

from torch import Tensor

PARITY_TOLERANCE = 1e-4
"""Of the largest logit, between a converted network and the file's own program."""


def relative_difference(logits: Tensor, reference: Tensor) -> float:
    """Largest difference over the largest finite absolute value of the reference; infinite when the shapes differ.

    The same infinity (a masked class) or NaN in both is no difference; in one of them alone it is an infinite one.
    """
    if logits.shape != reference.shape:
        return float("inf")
    same = (logits == reference) | (logits.isnan() & reference.isnan())
    apart = (logits - reference).abs().masked_fill(same, 0.0)
    difference = float(apart.nan_to_num(nan=float("inf"), posinf=float("inf")).max())
    scale = float(reference.abs().masked_fill(~reference.isfinite(), 0.0).max())
    return difference / scale if scale > 0 else difference
