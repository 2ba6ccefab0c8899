"""Failures that are accepted until a day, and which of the acceptances were of use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from ..records.gating import AppliedWaiver, GateCheck
from ..settings.gates import Waiver
from .patterns import matches


def apply(
    checks: Sequence[GateCheck], waivers: Sequence[Waiver], today: date
) -> tuple[tuple[GateCheck, ...], tuple[AppliedWaiver, ...]]:
    """The checks, those that a waiver covers with its reason, and what became of each waiver.

    A waiver covers checks that failed or are inconclusive, up to and with its last day. Where several do, the first one
    gives the reason.
    """
    reasons: dict[str, str] = {}
    applied = []
    for waiver in waivers:
        covers = [check.id for check in checks if check.outcome != "passed" and matches(waiver.gate, check.id)]
        expired = today > waiver.expires
        if not expired:
            reasons = dict.fromkeys(covers, waiver.reason) | reasons
        applied.append(
            AppliedWaiver(
                gate=waiver.gate,
                reason=waiver.reason,
                expires=waiver.expires.isoformat(),
                state="expired" if expired else "used" if covers else "unused",
                covers=tuple(covers),
            )
        )
    covered = (check.model_copy(update={"waiver": reasons.get(check.id)}) for check in checks)
    return tuple(covered), tuple(applied)
