"""Gradients that an attack cannot use: zero, vanishing, not finite."""

from __future__ import annotations

from ..records import AttackResult, AuditRecord, Finding, Level
from ..units import format_percent
from .advice import add
from .attack_health import attacks, health, level_of
from .slopes import tiny_but_right

ZERO_SHARE = 0.01
"""Share of the robust verdicts that may rest on no gradient at all: one in a hundred moves the figure by a point."""
VANISHING_NOTED = 0.01
"""Below one verdict in a hundred the figure moves by less than a point."""
VANISHING_SHARE = 0.5
"""Far more than for zero gradients: a vanishing gradient still has a direction, which a sign step follows."""
NONFINITE_SHARE = 0.01
"""As for zero gradients: what is not finite is taken as zero, so the attack is blind there."""


def zero(record: AuditRecord) -> list[Finding]:
    """Robust verdicts for which every gradient was zero or not finite."""
    findings = []
    for result in attacks(record):
        if not result.zero_gradient:
            continue
        robust = result.robust_accuracy.count
        level = level_of(record, result, not _little_zero(result), _little_zero)
        message = (
            f"{result.zero_gradient} of {robust} robust verdicts came about without one finite, non-zero gradient: "
            "these images were not attacked, and the true robust accuracy can be lower. Look for saturated or softmax "
            f"outputs, rounding, or a detached input.{add(record, result, 'apgd-t', 'square')}"
        )
        findings.append(health("zero-gradients", level, result.perturbation.id, message))
    return findings


def vanishing(record: AuditRecord) -> list[Finding]:
    """Robust verdicts for which no gradient entry was large enough for float32, though some were not zero."""
    findings = []
    for result in attacks(record):
        count, robust = _vanished(result), result.robust_accuracy.count
        if count <= VANISHING_NOTED * robust:
            continue
        # What is tiny by its scale alone still has its sign, and steps follow the sign or the direction.
        if tiny_but_right(record):
            level: Level = "note"
            meaning = "Small steps along them raise the loss all the same, so the attack can follow them."
        else:
            level = level_of(record, result, count > VANISHING_SHARE * robust, _little_vanished)
            meaning = (
                "Rounding decides where such an attack goes, and the true robust accuracy can be lower."
                f"{add(record, result, 'apgd-t', 'apgd-dlr')}"
            )
        message = f"For {count} of {robust} robust verdicts no gradient entry reached 1e-10. {meaning}"
        findings.append(health("vanishing-gradients", level, result.perturbation.id, message))
    return findings


def nonfinite(record: AuditRecord) -> list[Finding]:
    """Images on which a gradient held NaN or infinity."""
    findings = []
    for result in attacks(record):
        if result.signs is None or not result.signs.nonfinite_gradient:
            continue
        level = level_of(record, result, not _little_nonfinite(result), _little_nonfinite)
        images = result.robust_accuracy.total
        count = result.signs.nonfinite_gradient
        message = (
            f"On {count} of {images} images ({format_percent(count / images)}) a gradient held NaN or infinity; the "
            "attack took these entries as zero and was partly blind. Look for a division by zero, the root or the "
            "logarithm of 0, or an overflow in the model."
        )
        findings.append(health("nonfinite-gradients", level, result.perturbation.id, message))
    return findings


def _little_zero(result: AttackResult) -> bool:
    return result.zero_gradient <= ZERO_SHARE * result.robust_accuracy.count


def _little_vanished(result: AttackResult) -> bool:
    # The zero ones count here: an attack without any gradient cannot speak for one with tiny ones.
    vanished = _vanished(result) + result.zero_gradient
    return vanished <= VANISHING_SHARE * result.robust_accuracy.count


def _vanished(result: AttackResult) -> int:
    return 0 if result.signs is None else result.signs.vanishing_gradient - result.zero_gradient


def _little_nonfinite(result: AttackResult) -> bool:
    robust = result.robust_accuracy.count
    # The sign counts fooled images too; only those that stayed right can be wrong verdicts.
    return result.signs is None or min(result.signs.nonfinite_gradient, robust) <= NONFINITE_SHARE * robust
