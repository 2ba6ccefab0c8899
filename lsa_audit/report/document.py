"""The report as one tree of sections, the same for Markdown and HTML."""

from __future__ import annotations

from ..records import AuditRecord
from . import text
from .sections import accuracy, attack_health, filters, findings, layers, neurons, overview, patching, provenance
from .view import Document


def document(record: AuditRecord) -> Document:
    """What a report of `record` shows, from the verdict down to the settings."""
    probes = (neurons.section(record), patching.section(record), filters.section(record))
    return Document(
        title=overview.title(record),
        subtitle=overview.subtitle(record),
        notices=overview.notices(record),
        cards=overview.cards(record),
        findings=findings.section(record),
        sections=(
            accuracy.section(record),
            attack_health.section(record),
            layers.section(record),
            *(probe for probe in probes if probe is not None),
            provenance.missing(record),
            provenance.subject(record),
            provenance.conditions(record),
        ),
        footer=f"{text.DASH_MEANING} The unrounded figures are in record.json, schema version {record.schema_version}.",
    )
