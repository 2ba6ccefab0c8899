"""The report as one tree of sections, the same for Markdown and HTML."""

from __future__ import annotations

from ..records import AuditRecord
from . import text
from .sections import accuracy, attack_health, findings, layers, neurons, overview, provenance
from .view import Document


def document(record: AuditRecord) -> Document:
    """What a report of `record` shows, from the verdict down to the settings."""
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
            neurons.section(record),
            provenance.missing(record),
            provenance.subject(record),
            provenance.conditions(record),
        ),
        footer=f"{text.DASH_MEANING} The unrounded figures are in record.json, schema version {record.schema_version}.",
    )
