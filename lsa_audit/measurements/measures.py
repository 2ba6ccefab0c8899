"""How far a layer's output moved: one function a measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.answers import is_right


@dataclass(frozen=True)
class ValuePair:
    """A layer's outputs on n clean images and on the same images under P perturbations.

    Attributes:
        clean: [n, D]; perturbed: [P, n, D].
        clean_norm: [n] and moved_norm: [P, n], Euclidean, summed up in float64 where the device has it.
    """

    clean: Tensor
    perturbed: Tensor
    clean_norm: Tensor
    moved_norm: Tensor


def pair(clean: Tensor, perturbed: Tensor) -> ValuePair:
    """The pair with its norms, which several measures share."""
    return ValuePair(clean, perturbed, norm(clean), norm(perturbed - clean))


def full(values: Tensor) -> Tensor:
    """Half precision as float32, in which differences and sums keep their digits; anything else as it is."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def norm(values: Tensor) -> Tensor:
    """Euclidean norms over the last dimension, summed in float64 (but on MPS): long sums lose digits in float32."""
    dtype = torch.float32 if values.device.type == "mps" else torch.float64
    norms: Tensor = torch.linalg.vector_norm(values, dim=-1, dtype=dtype)
    return norms


def relative_error(outputs: ValuePair) -> Tensor:
    """||phi(x) - phi(x')|| / ||phi(x)|| for each image: [P, n], 0 or above, NaN where the clean output is all zero.

    Source: Khalooei et al., arXiv 2202.02626, comparison measure CM.
    Differs from the source: the ratio is taken for each image; a ratio over a whole batch is `batch-relative-error`.
    """
    return divide(outputs.moved_norm, outputs.clean_norm)


def l2(outputs: ValuePair) -> Tensor:
    """||phi(x) - phi(x')||_2 for each image: [P, n], 0 or above."""
    return outputs.moved_norm


def linf(outputs: ValuePair) -> Tensor:
    """The largest change of one activation for each image: [P, n], 0 or above."""
    return (outputs.perturbed - outputs.clean).abs().amax(-1)


def cosine(outputs: ValuePair) -> Tensor:
    """1 - cos(phi(x), phi(x')) for each image: [P, n], 0..2, NaN where either output is all zero."""
    perturbed_norm = norm(outputs.perturbed)
    product = (outputs.perturbed * outputs.clean).sum(-1, dtype=perturbed_norm.dtype)
    return 1 - divide(product, perturbed_norm * outputs.clean_norm)


def divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, NaN where the denominator is 0."""
    return numerator / denominator.masked_fill(denominator == 0, float("nan"))


def verdicts(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which images are right [N], and their true-class margins [N]: the label's logit minus the largest other one.

    Right as everywhere else: see `models.answers`.
    """
    true = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], float("-inf"))
    return is_right(logits, labels), true[:, 0] - others.amax(1)


WHOLE_BATCH = "batch-relative-error"
"""||phi(X) - phi(X')||_F / ||phi(X)||_F over all images at once, as the author's package computes it for a batch."""

MEASURES: dict[str, Callable[[ValuePair], Tensor]] = {
    "relative-error": relative_error,
    "l2": l2,
    "linf": linf,
    "cosine": cosine,
    WHOLE_BATCH: relative_error,
}
