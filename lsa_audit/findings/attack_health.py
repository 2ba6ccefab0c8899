"""Signs that an attack failed rather than that the model withstood it."""

from __future__ import annotations

from ..records import AttackResult, AuditRecord, Finding, Level

TOLERATED_SHARE = 0.01
"""Share of the robust verdicts that may rest on no gradient at all before the figure counts as inconclusive."""


def find(record: AuditRecord) -> list[Finding]:
    """No attack at all, robust verdicts without a usable gradient, logits that are not finite, images that influence
    each other."""
    findings = [finding for result in record.attacks for finding in _of_attack(result)]
    if record.graph.batch_independent is False:
        message = (
            "An image's logits depend on the other images in its batch (a batch norm in training mode, or a statistic "
            "over the batch), so no verdict belongs to one image."
        )
        findings.append(Finding(rule="attack-health", level="error", subject=record.model.name, message=message))
    if not any(result.perturbation.kind == "attack" for result in record.attacks):
        why = next((f": {entry.detail}" for entry in record.skipped if entry.reason == "no-gradients"), "")
        message = f"No attack ran{why}. Noise alone cannot show that a model resists an attack."
        findings.append(Finding(rule="attack-health", level="error", subject=record.model.name, message=message))
    if record.clean.count == 0:
        message = "The model is right on no clean image, so there is nothing that an attack could take away."
        findings.append(Finding(rule="attack-health", level="error", subject=record.data.name, message=message))
    return findings


def _of_attack(result: AttackResult) -> list[Finding]:
    subject = result.perturbation.id
    findings = []
    if result.zero_gradient:
        robust = result.robust_accuracy.count
        severe = result.zero_gradient > TOLERATED_SHARE * robust
        message = (
            f"{result.zero_gradient} of {robust} robust verdicts came about without one finite, non-zero gradient: "
            "these images were not attacked. Look for saturated or softmax outputs, rounding, or a detached input; the "
            "true robust accuracy can be lower."
        )
        level: Level = "error" if severe else "warning"
        findings.append(Finding(rule="attack-health", level=level, subject=subject, message=message))
    if result.nonfinite:
        message = (
            f"The logits of {result.nonfinite} perturbed images are NaN or infinite. They count as fooled, but there "
            "the model fails in another way than by a wrong answer."
        )
        findings.append(Finding(rule="attack-health", level="error", subject=subject, message=message))
    return findings
