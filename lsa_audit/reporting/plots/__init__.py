"""The figures of the HTML report as SVG: layers, accuracy against epsilon, neurons, patching, filters."""

from __future__ import annotations

from ...page.drawing import Figure
from ...records import AuditRecord
from . import accuracy, filters, heat_strip, layers, neurons, patching


def figures(record: AuditRecord) -> tuple[Figure, ...]:
    """Every figure of the record; one that has nothing to show has a description that says so, and no SVG."""
    first, *more = layers.figures(record)
    return (
        first,
        accuracy.figure(record),
        *heat_strip.figures(record),
        *neurons.figures(record),
        *patching.figures(record),
        *filters.figures(record),
        *more,
    )
