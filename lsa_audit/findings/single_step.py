"""Attacks of one step that leave most images right where attacks of several steps do not."""

from __future__ import annotations

from ..records import AttackResult, AuditRecord, Finding
from ..records.attacks import beside_one_step
from ..units import format_percent
from .attack_health import attacks, health

STANDING_SHARE = 0.5
"""Of the images that are right before. On undefended models one step at a common epsilon leaves fewer."""
MISLED_SHARE = 0.5
"""Of those, what several steps fool all the same."""
MISLED_IMAGES = 10


def find(record: AuditRecord) -> list[Finding]:
    """One finding for each attack of one step whose figure several steps in the same ball do not bear out."""
    findings = []
    for result, strongest in beside_one_step(attacks(record)):
        if result.perturbation.epsilon == 0:
            continue
        misled = _left(result) - _left(strongest)
        most_stand = _left(result) >= STANDING_SHARE * record.clean.count
        if not most_stand or misled < MISLED_IMAGES or misled < MISLED_SHARE * _left(result):
            continue
        message = (
            f"{format_percent(result.robust_accuracy.value)} withstand one step, and "
            f"{format_percent(strongest.robust_accuracy.value)} {strongest.perturbation.id}: the gradient at the image "
            "does not lead to the wrong answers nearby, which is gradient masking against single steps. Do not quote "
            "the figure of one step as robustness, nor a gain in it."
        )
        findings.append(health("single-step-misled", "warning", result.perturbation.id, message))
    return findings


def _left(result: AttackResult) -> int:
    return result.robust_accuracy.count
