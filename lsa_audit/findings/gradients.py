"""Gradients that an attack cannot use: zero, vanishing, not finite."""

from __future__ import annotations

from ..records import AttackResult, AuditRecord, Finding
from ..units import format_percent
from .attack_health import attacks, graded, health, rests_on

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
        severe = not _little_zero(result) and rests_on(record, result, _little_zero)
        message = (
            f"{result.zero_gradient} of {robust} robust verdicts came about without one finite, non-zero gradient: "
            "these images were not attacked, and the true robust accuracy can be lower. Look for saturated or softmax "
            "outputs, rounding, or a detached input, and add apgd-t and square."
        )
        findings.append(health("zero-gradients", graded(severe), result.perturbation.id, message))
    return findings


def vanishing(record: AuditRecord) -> list[Finding]:
    """Robust verdicts for which no gradient entry was large enough for float32, though some were not zero."""
    findings = []
    for result in attacks(record):
        count, robust = _vanished(result), result.robust_accuracy.count
        if count <= VANISHING_NOTED * robust:
            continue
        severe = count > VANISHING_SHARE * robust and rests_on(record, result, _little_vanished)
        message = (
            f"For {count} of {robust} robust verdicts no gradient entry reached 1e-10: rounding decides where such an "
            "attack goes, and the true robust accuracy can be lower. Add an attack whose objective does not depend on "
            "the scale of the logits (apgd-t, apgd-dlr)."
        )
        findings.append(health("vanishing-gradients", graded(severe), result.perturbation.id, message))
    return findings


def nonfinite(record: AuditRecord) -> list[Finding]:
    """Images on which a gradient held NaN or infinity."""
    findings = []
    for result in attacks(record):
        if result.signs is None or not result.signs.nonfinite_gradient:
            continue
        severe = not _little_nonfinite(result) and rests_on(record, result, _little_nonfinite)
        images = result.robust_accuracy.total
        count = result.signs.nonfinite_gradient
        message = (
            f"On {count} of {images} images ({format_percent(count / images)}) a gradient held NaN or infinity; the "
            "attack took these entries as zero and was partly blind. Look for a division by zero, the root or the "
            "logarithm of 0, or an overflow in the model."
        )
        findings.append(health("nonfinite-gradients", graded(severe), result.perturbation.id, message))
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
