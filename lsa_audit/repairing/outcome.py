"""Before against after on the same images, and what that amounts to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..records.repair import Change, Outcome
from ..scanning.verdicts import Flags
from ..stats.statistics import estimate, mcnemar_change, paired_difference
from .choice import Floor

CLEAN = "clean"
SIGNIFICANCE = 0.05


def compare(name: str, before: Flags, after: Flags) -> Change:
    """Which images were gained and lost.

    Args:
        name: `clean`, or the id of the attack.
        before, after: [N] bool, right before and after the repair.
    """
    total = len(before)
    gained, lost = int((~before & after).sum()), int((before & ~after).sum())
    difference, low, high = paired_difference(gained, lost, total)
    return Change(
        id=name,
        before=estimate(int(np.count_nonzero(before)), total),
        after=estimate(int(np.count_nonzero(after)), total),
        gained=gained,
        lost=lost,
        difference=difference,
        low=low,
        high=high,
        p_value=mcnemar_change(gained, lost),
    )


def settle(clean: Change, attacked: Sequence[Change], max_clean_drop: float) -> Outcome:
    """What the changes amount to.

    `helped` needs a significant gain under every attack, each at 5 %, and a clean accuracy within the floor: then no
    correction for several tests is due, as all of them must hold.

    Args:
        attacked: the attack that chose the strengths first.
    """
    better = [entry.p_value < SIGNIFICANCE and entry.gained > entry.lost for entry in attacked]
    worse = [entry.p_value < SIGNIFICANCE and entry.gained < entry.lost for entry in (clean, *attacked)]
    floor_held = Floor.below(clean.before.count, clean.before.total, max_clean_drop).holds(clean.after.count)
    if better[0] and not all(better):
        return "masked"
    if all(better) and floor_held:
        return "helped"
    if any(worse[1:]) or (worse[0] and not floor_held):
        return "harmed"
    return "not-helped"
