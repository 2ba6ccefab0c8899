"""What was asked for and could not be measured."""

from __future__ import annotations

from ..records import AuditRecord, Finding


def find(record: AuditRecord) -> list[Finding]:
    """One finding that counts what was skipped and gives the first reason."""
    if not record.skipped:
        return []
    first = record.skipped[0]
    more = f", and {len(record.skipped) - 1} more" if len(record.skipped) > 1 else ""
    message = f"Not measured: {first.what} ({first.reason}: {first.detail}){more}. This says nothing for the model."
    return [Finding(rule="unmeasured", level="warning", subject=first.what, message=message)]
