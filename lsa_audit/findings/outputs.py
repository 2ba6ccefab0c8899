"""What the model's outputs say about whether attacks on it can work."""

from __future__ import annotations

from ..records import AttackResult, AuditRecord, Finding, Level
from ..units import format_percent
from .advice import add
from .attack_health import at_stake, attacks, graded, health, same_ball

SATURATED_SHARE = 0.1
"""Above one clean image in ten the attacks that raise the cross-entropy start from a flat place too often to ignore."""

BOUNDS_SHARE = 0.5
"""Networks whose outputs are logits have none or a few in a hundred, most have whose outputs saturate."""

CROSS_ENTROPY = frozenset({"fgsm", "pgd", "apgd-ce", "ddn"})
"""The attacks that raise the cross-entropy; the others compare logits, which saturation leaves apart."""


def nonfinite_logits(record: AuditRecord) -> list[Finding]:
    """Perturbed images on which the logits are NaN or infinite; an error where the reported figure counts them."""
    return [
        health(
            "nonfinite-logits",
            graded(not _borne_out(record, result)),
            result.perturbation.id,
            f"The logits of {result.nonfinite} perturbed images are NaN or infinite. They count as fooled, but the "
            "model gives no answer there instead of a wrong one: fix that first (an overflow, a division by zero).",
        )
        for result in record.attacks
        if result.nonfinite
    ]


def _borne_out(record: AuditRecord, result: AttackResult) -> bool:
    """Whether an attack without such logits leaves no more images right in the same ball."""
    return any(
        not other.nonfinite and other.robust_accuracy.count <= result.robust_accuracy.count
        for other in same_ball(record, result)
        if other is not result
    )


def probabilities(record: AuditRecord) -> list[Finding]:
    """The model ends in a softmax or a log-softmax."""
    if record.model.outputs is not None and record.model.outputs.logits in ("logarithm", "log-odds"):
        return [_from_probabilities(record)]
    if record.health is None or record.health.outputs == "logits":
        return []
    if record.health.outputs == "log-probabilities":
        message = (
            "The outputs are log-probabilities. They differ from logits by one number an image, which no objective "
            "sees: the attacks work as on logits."
        )
        return [health("probability-outputs", "note", record.model.name, message)]
    message = (
        "The outputs are probabilities, not logits: the attacks take a softmax of a softmax, whose gradient fades "
        "where the model is sure, and the true robust accuracy can be lower. Give the model without its last softmax."
    )
    level: Level = "error" if at_stake(record) else "warning"
    return [health("probability-outputs", level, record.model.name, message)]


def _from_probabilities(record: AuditRecord) -> Finding:
    """Attacks work on a function of probabilities, as nothing in the graph could be taken off."""
    message = (
        "The model returns probabilities, and no sigmoid or softmax at its end could be removed. Attacks use "
        "their logits, which have no gradient where float32 has rounded a probability to 0 or 1."
    )
    level: Level = "warning" if is_saturated(record) and at_stake(record) else "note"
    return health("probability-outputs", level, record.model.name, message)


def saturated(record: AuditRecord) -> list[Finding]:
    """Many clean images with a softmax of exactly 1."""
    if not is_saturated(record) or record.health is None or not attacks(record):
        return []
    count, total = record.health.saturated, record.clean.total
    alone = [
        result
        for result in attacks(record)
        if result.perturbation.epsilon > 0 and all(on_cross_entropy(other) for other in same_ball(record, result))
    ]
    level: Level = "warning" if alone and at_stake(record) else "note"
    advice = add(record, alone[0], "apgd-t", "square") if alone else " Attacks that compare logits do not mind."
    message = (
        f"On {count} of {total} clean images ({format_percent(count / total)}) the softmax is exactly 1 in float32, so "
        f"the cross-entropy is flat around them and attacks that raise it can stall.{advice}"
    )
    return [health("saturated-logits", level, record.model.name, message)]


def at_bounds(record: AuditRecord) -> list[Finding]:
    """Many clean images with outputs at their bounds, and nothing in front of these that attacks could see."""
    count = None if record.health is None else record.health.at_bounds
    total = record.clean.total
    if count is None or count <= BOUNDS_SHARE * total or not attacks(record):
        return []
    message = (
        f"On {count} of {total} clean images ({format_percent(count / total)}) the outputs are at their bounds: "
        "gradients fade there, and the true robust accuracy can be lower. Return the values in front of the last "
        "activation, or name them with --logits."
    )
    return [health("saturated-outputs", "warning" if at_stake(record) else "note", record.model.name, message)]


def is_saturated(record: AuditRecord) -> bool:
    """Whether more clean images than `SATURATED_SHARE` are saturated."""
    return record.health is not None and record.health.saturated > SATURATED_SHARE * record.clean.total


def on_cross_entropy(result: AttackResult) -> bool:
    """Whether the attack, or every member of the ensemble that ran, raises the cross-entropy."""
    members = {stage.name for stage in result.stages if stage.images} or {result.perturbation.name}
    return members <= CROSS_ENTROPY
