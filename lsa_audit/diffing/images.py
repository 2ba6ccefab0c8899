"""Verdicts on the same images before and after: shares, classes, and which images changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..gating.snapshot import Truths
from ..records.diff import (
    CLASS_IMAGES,
    AccuracyChange,
    ClassChange,
    ClassTable,
    FlippedImages,
    Rests,
    ShareChange,
    Trend,
)
from ..records.snapshot import Snapshot
from ..stats.statistics import estimate, holm, mcnemar_change, paired_difference
from .sides import CLEAN, Pairs

SIGNIFICANCE = 0.05
NO_LABELS = "Neither side keeps the labels of its images: a baseline does not."
OWN_LABELS = "The labels are each model's own predictions, so a class does not hold the same images before and after."


def trend(p_adjusted: float, difference: float) -> Trend:
    """What a difference says, above 0 being better."""
    if p_adjusted > SIGNIFICANCE:
        return "no-difference-shown"
    return "better" if difference > 0 else "worse"


def accuracy(
    pairs: Pairs, comparable: Sequence[str], shared_balls: Mapping[str, Sequence[str]]
) -> tuple[AccuracyChange, ...]:
    """Clean first, then each ball of several attacks, then each perturbation."""
    kinds = {entry.perturbation.id: entry.perturbation.kind for entry in pairs.after.snapshot.judged}
    rows: list[tuple[str, Rests, Sequence[str]]] = [(CLEAN, "clean", ())]
    rows += [(ball, "ball", attacks) for ball, attacks in shared_balls.items() if len(attacks) > 1]
    rows += [(name, kinds[name], (name,)) for name in comparable]
    shares = _shares([(name, *pairs.right(attacks)) for name, _, attacks in rows])
    return tuple(
        AccuracyChange(**dict(share), kind=kind, attacks=tuple(attacks) if kind == "ball" else ())
        for share, (_, kind, attacks) in zip(shares, rows, strict=True)
    )


def hardest(pairs: Pairs, shared_balls: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """The ball in which the fewest images stay right, before and after together, with its attacks; none without one.

    It is named as its row is: a ball of one attack by that attack.
    """
    if not shared_balls:
        return {}
    left = {ball: sum(int(right.sum()) for right in pairs.right(ids)) for ball, ids in shared_balls.items()}
    ball = min(left, key=lambda name: left[name])
    attacks = shared_balls[ball]
    return {ball if len(attacks) > 1 else attacks[0]: attacks}


def classes(pairs: Pairs, conditions: Mapping[str, Sequence[str]]) -> tuple[tuple[ClassTable, ...], str | None]:
    """The images of each class under each condition, and why there are none."""
    labels = pairs.labels()
    if pairs.after.snapshot.labels.source == "self":
        return (), OWN_LABELS
    if labels is None:
        return (), NO_LABELS
    found, counts = np.unique(labels, return_counts=True)
    large = [int(label) for label, count in zip(found, counts, strict=True) if count >= CLASS_IMAGES]
    if not large:
        return (), f"No class has {CLASS_IMAGES} images that both runs have."
    tables = []
    names = [_class_name(pairs.after.snapshot, label) for label in large]
    members = [labels == label for label in large]
    for under, attacks in conditions.items():
        before, after = pairs.right(attacks)
        shares = _shares([(name, before[rows], after[rows]) for name, rows in zip(names, members, strict=True)])
        changes = (ClassChange(**dict(share), label=label) for share, label in zip(shares, large, strict=True))
        tables.append(ClassTable(under=under, classes=tuple(changes), left_out=len(found) - len(large)))
    return tuple(tables), None


def flipped(pairs: Pairs, conditions: Mapping[str, Sequence[str]], limit: int) -> tuple[FlippedImages, ...]:
    """How many images are newly wrong and newly right under each condition, and the first of them."""
    _, names = pairs.names()
    tables = []
    for name, attacks in conditions.items():
        before, after = pairs.right(attacks)
        wrong, right = np.flatnonzero(before & ~after), np.flatnonzero(~before & after)
        tables.append(
            FlippedImages(
                under=name,
                newly_wrong=len(wrong),
                newly_right=len(right),
                wrong_images=tuple(names[row] for row in wrong[:limit]),
                right_images=tuple(names[row] for row in right[:limit]),
            )
        )
    return tuple(tables)


def _shares(rows: Sequence[tuple[str, Truths, Truths]]) -> list[ShareChange]:
    """One for each name with its verdicts before and after; Holm over all of them."""
    counts = [(int((~before & after).sum()), int((before & ~after).sum())) for _, before, after in rows]
    p_values = [mcnemar_change(gained, lost) for gained, lost in counts]
    found = []
    for row, (gained, lost), p_value, p_adjusted in zip(rows, counts, p_values, holm(p_values).tolist(), strict=True):
        name, before, after = row
        difference, low, high = paired_difference(gained, lost, len(before))
        found.append(
            ShareChange(
                id=name,
                before=estimate(int(before.sum()), len(before)),
                after=estimate(int(after.sum()), len(after)),
                gained=gained,
                lost=lost,
                difference=difference,
                low=low,
                high=high,
                p_value=p_value,
                p_adjusted=p_adjusted,
                trend=trend(p_adjusted, difference),
            )
        )
    return found


def _class_name(snapshot: Snapshot, label: int) -> str:
    names = snapshot.data.class_names
    return names[label] if 0 <= label < len(names) else str(label)
