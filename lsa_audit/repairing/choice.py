"""The strengths: the attack is run anew on the model edited with each pair, and the best one within the floor wins."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ..progress import Progress
from ..records import Perturbation
from ..records.repair import Strengths, TriedStrengths
from ..stats.statistics import estimate
from ..units import format_percent
from .attacks import Judge
from .scaling import UNCHANGED, Fold, change, scaled

FRAGILE_STRENGTHS = (0.0, 0.1, 0.3, 1.0)
ROBUST_STRENGTHS = (0.0, 0.05, 0.1, 0.3)
ROUNDING = 1e-9


@dataclass(frozen=True)
class Floor:
    """How many images must stay right."""

    count: float

    @classmethod
    def below(cls, right: int, total: int, max_drop: float) -> Floor:
        """The floor that lies `max_drop` (a share of all images) below what the unedited model gets right."""
        return cls(right - max_drop * total - ROUNDING)

    def holds(self, right: int) -> bool:
        """Whether so many right images are enough."""
        return right >= self.count


def grid(chosen: Sequence[Fold]) -> tuple[Strengths, ...]:
    """Every pair of strengths that makes another model; the unchanged one first."""
    found: dict[tuple[float, ...], Strengths] = {}
    for fragile, robust in itertools.product(FRAGILE_STRENGTHS, ROBUST_STRENGTHS):
        strengths = Strengths(fragile=fragile, robust=robust)
        scales = tuple(scale for entry in chosen for scale in entry.scales(strengths).tolist())
        found.setdefault(scales, strengths)
    return tuple(found.values())


def try_all(
    chosen: Sequence[Fold], judge: Judge, perturbation: Perturbation, max_clean_drop: float, progress: Progress
) -> tuple[TriedStrengths, ...]:
    """Every pair of strengths on the images that choose, the unchanged model first.

    Args:
        max_clean_drop: share of the images that an edited model may lose without an attack; one that loses more is not
            attacked.

    Cost: for each pair a forward an image, and the attack.
    """
    candidates: list[TriedStrengths] = []
    for strengths in grid(chosen):
        with scaled(chosen, strengths):
            right = judge.clean(progress)
            clean = estimate(int(right.sum()), len(right))
            unedited = candidates[0].clean if candidates else clean
            robust = None
            if Floor.below(unedited.count, unedited.total, max_clean_drop).holds(clean.count):
                stands = judge.robust(perturbation, right, progress)
                robust = estimate(int(stands.sum()), len(stands))
        candidates.append(
            TriedStrengths(strengths=strengths, change=change(chosen, strengths), clean=clean, robust=robust)
        )
        progress.message(_line(candidates[-1], perturbation))
    return tuple(candidates)


def _line(tried: TriedStrengths, perturbation: Perturbation) -> str:
    under = "not attacked" if tried.robust is None else f"{perturbation.id} {format_percent(tried.robust.value)}"
    strengths = f"fragile up {tried.strengths.fragile:g}, robust down {tried.strengths.robust:g}"
    return f"{strengths}: clean {format_percent(tried.clean.value)}, {under}"


def best(candidates: Sequence[TriedStrengths]) -> Strengths:
    """The most robust one of those that were attacked; of several the one that changes the model least."""
    attacked = [(entry.robust.count, -entry.change, entry) for entry in candidates if entry.robust is not None]
    return max(attacked, key=lambda ranked: ranked[:2])[2].strengths if attacked else UNCHANGED
