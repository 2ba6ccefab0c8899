"""The judge's verdicts on all images, and what they add up to: summaries, distances, sweeps, comparisons."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..attacks import ATTACKS
from ..attacks.norms import lengths
from ..attacks.target import add_stages
from ..records import AttackResult, AttackSigns, AttackStage, Comparison, Distances, Perturbation, Suspicion, Sweep
from ..stats.statistics import Floats, estimate, median_interval
from .attacking import Judged

Flags = NDArray[np.bool_]
SHARP = 255

FLAGS = ("right", "nonfinite", "zero_gradient", "vanishing_gradient", "nonfinite_gradient", "fooled_later")
NUMBERS = ("distance", "rises", "climbs")
"""Fields of the judge's outcome that are kept for every image."""


@dataclass
class Verdicts:
    """The verdicts of one perturbation over all N images; arrays are [N]."""

    perturbation: Perturbation
    right: Flags
    attacked: Flags
    nonfinite: Flags
    zero_gradient: Flags
    vanishing_gradient: Flags
    nonfinite_gradient: Flags
    fooled_later: Flags
    linf: Floats
    l2: Floats
    distance: Floats
    rises: Floats
    climbs: Floats
    forwards: int = 0
    backwards: int = 0
    stages: tuple[AttackStage, ...] = ()
    images: list[NDArray[np.float32]] = field(default_factory=list)

    @classmethod
    def empty(cls, perturbation: Perturbation, samples: int) -> Verdicts:
        """No verdicts yet on `samples` images."""
        arrays: dict[str, Any] = {name: np.zeros(samples, dtype=np.bool_) for name in ("attacked", *FLAGS)}
        arrays |= {name: np.zeros(samples) for name in ("linf", "l2", *NUMBERS)}
        return cls(perturbation, **arrays)

    def store(self, part: slice, judged: Judged, images: Tensor, *, keep_images: bool) -> None:
        """Add the verdicts of one batch; parts come in order."""
        outcome = judged.outcome
        for name in (*FLAGS, *NUMBERS):
            getattr(self, name)[part] = getattr(outcome, name).cpu().numpy()
        self.attacked[part] = judged.attacked.cpu().numpy()
        delta = outcome.adversarial - images
        self.linf[part] = lengths(delta, "linf").flatten().cpu().numpy()
        self.l2[part] = lengths(delta, "l2").flatten().cpu().numpy()
        self.forwards += outcome.forwards
        self.backwards += outcome.backwards
        self.stages = add_stages([self.stages, outcome.stages])
        if keep_images:
            self.images.append(outcome.adversarial.cpu().numpy())

    @cached_property
    def adversarials(self) -> NDArray[np.uint8] | NDArray[np.float32] | None:
        """The judged images [N, ...], once all are there: uint8 where exact, else float32; None where not kept."""
        if not self.images:
            return None
        images = np.concatenate(self.images)
        levels = np.rint(images * SHARP).astype(np.uint8)
        return levels if np.array_equal(from_saved(levels), images) else images

    def result(self, clean_right: Flags, seed: int) -> AttackResult:
        """The summary for the record; an image counts as robust when it is right before and after."""
        entry, robust = self.perturbation, clean_right & self.right
        seen = clean_right & self.attacked
        saved = self.adversarials
        return AttackResult(
            perturbation=entry,
            robust_accuracy=estimate(int(robust.sum()), len(robust)),
            fooled=int((clean_right & ~self.right).sum()),
            nonfinite=int((self.nonfinite & seen).sum()),
            zero_gradient=int((robust & self.zero_gradient).sum()),
            forwards=self.forwards,
            backwards=self.backwards,
            mean_linf=float(self.linf[seen].mean()) if seen.any() else 0.0,
            mean_l2=float(self.l2[seen].mean()) if seen.any() else 0.0,
            attacked=int(seen.sum()),
            stages=self.stages,
            signs=self._signs(robust, seen) if entry.kind == "attack" and ATTACKS[entry.name].gradients else None,
            distances=self._distances(clean_right, seed) if entry.minimal else None,
            adversarials_sha256=None if saved is None else digest(saved),
        )

    def _signs(self, robust: Flags, seen: Flags) -> AttackSigns:
        climbs = self.climbs[robust].sum()
        return AttackSigns(
            nonfinite_gradient=int((self.nonfinite_gradient & seen).sum()),
            vanishing_gradient=int((self.vanishing_gradient & robust).sum()),
            fooled_later=int((self.fooled_later & seen).sum()),
            rising_share=float(self.rises[robust].sum() / climbs) if climbs else None,
        )

    def _distances(self, clean_right: Flags, seed: int) -> Distances:
        distances = self.distance[clean_right]
        points = [_quantile(distances, share) for share in (0.25, 0.5, 0.75)]
        low, high = median_interval(distances, seed)
        return Distances(
            found=int(np.isfinite(distances).sum()),
            total=len(distances),
            quartile=points[0],
            median=points[1],
            upper_quartile=points[2],
            median_low=low,
            median_high=high,
        )


def digest(array: NDArray[np.generic]) -> str:
    """sha256 over type, shape and values."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def from_saved(array: NDArray[np.generic]) -> NDArray[np.float32]:
    """Images as the judge saw them, from what was saved."""
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(SHARP)
    return array.astype(np.float32)


def _quantile(values: Floats, share: float) -> float | None:
    """The smallest value with at least that share of the values at or below it; None where that one is infinite."""
    if not len(values):
        return None
    found = np.sort(values)[max(int(np.ceil(share * len(values))) - 1, 0)]
    return float(found) if np.isfinite(found) else None


def breaking_epsilons(verdicts: Sequence[Verdicts]) -> Floats:
    """[N] the smallest epsilon at which each image is fooled, by the stored verdicts; infinite where none does it."""
    broken = np.full(len(verdicts[0].right), np.inf)
    for entry in sorted(verdicts, key=lambda entry: -entry.perturbation.epsilon):
        broken[~entry.right] = entry.perturbation.epsilon
    return broken


def sweeps(verdicts: Mapping[str, Verdicts], clean_right: Flags) -> dict[str, tuple[Sweep, Floats]]:
    """For each attack at several epsilons: how many images first fall at which one, and at which one each does [N]."""
    groups: dict[str, list[Verdicts]] = {}
    for entry in verdicts.values():
        perturbation = entry.perturbation
        if perturbation.kind == "attack":
            groups.setdefault(perturbation.id.partition("@")[0] + f"@{perturbation.norm}", []).append(entry)
    found = {}
    for name, entries in groups.items():
        epsilons = tuple(sorted({entry.perturbation.epsilon for entry in entries}))
        if len(epsilons) < 2:
            continue
        broken = breaking_epsilons(entries)
        right = broken[clean_right]
        found[name] = (
            Sweep(
                name=name.partition("@")[0],
                norm=entries[0].perturbation.norm,
                epsilons=epsilons,
                first_fooled=tuple(int((right == epsilon).sum()) for epsilon in epsilons),
                unbroken=int(np.isinf(right).sum()),
                median=_quantile(right, 0.5),
            ),
            broken,
        )
    return found


def comparisons(verdicts: Mapping[str, Verdicts], clean_right: Flags) -> tuple[Comparison, ...]:
    """Every pair of which one should be at least as strong as the other, with the images that only the other fools."""
    found = []
    entries = list(verdicts.values())
    for weaker in entries:
        for stronger in entries:
            suspicion = _suspicion(weaker.perturbation, stronger.perturbation)
            if suspicion is None:
                continue
            robust = clean_right & stronger.right & stronger.attacked
            missed = int((robust & ~weaker.right & weaker.attacked).sum())
            found.append(
                Comparison(
                    suspicion=suspicion,
                    weaker=weaker.perturbation.id,
                    stronger=stronger.perturbation.id,
                    missed=missed,
                    robust=int(robust.sum()),
                )
            )
    return tuple(found)


def _suspicion(weaker: Perturbation, stronger: Perturbation) -> Suspicion | None:
    """Why the second should be at least as strong as the first; None where nothing says so."""
    if weaker.norm != stronger.norm or stronger.kind != "attack":
        return None
    first, second = ATTACKS[weaker.name], ATTACKS[stronger.name]
    if second.layer or first.layer or not second.gradients:
        return None
    if weaker.epsilon < stronger.epsilon:
        return "larger-epsilon" if weaker.name == stronger.name and not second.minimal else None
    if weaker.epsilon > stronger.epsilon or weaker.name == stronger.name:
        return None
    if first.kind == "noise":
        return "noise"
    if not first.gradients:
        return "black-box"
    return "more-steps" if not first.multistep and second.multistep else None
