"""How far one way to compute logits is from another."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

PARITY_TOLERANCE = 1e-4
"""Of the largest logit, between a converted network and the file's own program."""

TOLERANCES = {"float64": PARITY_TOLERANCE, "float32": PARITY_TOLERANCE, "float16": 1e-2, "bfloat16": 8e-2}
"""The same where the file computes in another type than the network: about 20 roundings of the shorter one."""

RANDOM_HINT = "export it in evaluation mode, without the random operations"


def tolerance_of(types: Iterable[str]) -> float:
    """Between a float32 network and a file that computes in these types."""
    return max((TOLERANCES[kind] for kind in types if kind in TOLERANCES), default=PARITY_TOLERANCE)


def random_file(name: str, difference: float, why: str = "") -> str:
    """The sentence for a file whose own program gives other logits when it is run again."""
    end = f"; {why}" if why else ""
    return (
        f"{name} itself is random: two runs of its own program on the same images differ by {difference:.1e} of the "
        f"largest logit{end}"
    )


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
