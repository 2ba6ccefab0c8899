"""Whether anything was attacked at all."""

from __future__ import annotations

from ..records import AuditRecord, Finding
from .attack_health import attacks, health


def no_attack(record: AuditRecord) -> list[Finding]:
    """Only noise ran, or nothing."""
    if attacks(record):
        return []
    why = next((f": {entry.detail}" for entry in record.skipped if entry.reason == "no-gradients"), "")
    message = f"No attack ran{why}. Noise alone cannot show that a model resists an attack; name one with --attack."
    return [health("no-attack", "error", record.model.name, message)]


def never_right(record: AuditRecord) -> list[Finding]:
    """The model is wrong on every clean image."""
    if record.clean.count:
        return []
    message = (
        "The model is right on no clean image, so there is nothing that an attack could take away. Check the weights, "
        "the normalisation (--mean, --std) and the order of the classes."
    )
    return [health("never-right", "error", record.data.name, message)]
