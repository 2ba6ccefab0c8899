"""The figures are about the model's own predictions."""

from __future__ import annotations

from ..records import AuditRecord, Finding


def find(record: AuditRecord) -> list[Finding]:
    """The audit ran against the model's clean predictions instead of labels."""
    if record.labels.source == "dataset":
        return []
    message = (
        f"{record.labels.reason}. Right means: the same answer as on the clean image. The figures are prediction "
        "stability, not accuracy."
    )
    return [Finding(rule="labels", level="warning", subject=record.data.name, message=message)]
