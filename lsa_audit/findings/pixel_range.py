"""Images so dark that their white was probably lost when they were saved or read."""

from __future__ import annotations

from ..records import AuditRecord, Finding
from ..units import format_dark


def find(record: AuditRecord) -> list[Finding]:
    """No pixel of any image comes near 1."""
    largest = record.data.largest_pixel
    said = None if largest is None else format_dark(largest)
    if said is None:
        return []
    message = (
        f"{said[0].upper()}{said[1:]}{'' if said.endswith('?') else '.'} The scan read them as they are. "
        "If white should be 255 (or 1), stretch the images and scan again; every epsilon is far larger for images this "
        "dark."
    )
    return [Finding(rule="pixel-range", level="warning", subject=record.data.name, message=message)]
