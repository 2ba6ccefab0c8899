"""A clean accuracy that says that model and data do not fit together."""

from __future__ import annotations

from ..records import AuditRecord, Finding


def find(record: AuditRecord) -> list[Finding]:
    """The clean accuracy cannot be told from guessing: its interval reaches down to 1 / K."""
    chance = 1 / record.model.classes
    if record.labels.source == "self" or record.clean.count == 0 or record.clean.low > chance:
        return []
    message = (
        f"{record.clean.count} of {record.clean.total} clean images are right, which guessing among "
        f"{record.model.classes} classes would reach too. Check the normalisation (--mean, --std), the weights and the "
        "order of the classes before you read on."
    )
    return [Finding(rule="clean-accuracy", level="warning", subject=record.data.name, message=message)]
