"""The report as one tree of sections, the same for Markdown and HTML."""

from __future__ import annotations

from ..page import text
from ..page.view import Document
from .sections import (
    accuracy,
    attack_health,
    filters,
    findings,
    gallery,
    gates,
    layers,
    neurons,
    overview,
    patching,
    provenance,
)
from .shown import Shown


def document(shown: Shown) -> Document:
    """What a report shows, from the verdict down to the settings."""
    record, gating = shown.record, shown.gating
    probes = (neurons.section(record), patching.section(record), filters.section(record))
    return Document(
        title=overview.title(record),
        subtitle=overview.subtitle(record),
        notices=(*gates.notices(gating), *overview.notices(record)),
        cards=(*gates.cards(gating), *overview.cards(record)),
        lead=(*gates.sections(gating), findings.section(record)),
        sections=(
            accuracy.section(record),
            attack_health.section(record),
            gallery.section(shown),
            layers.section(record),
            *(probe for probe in probes if probe is not None),
            provenance.missing(record),
            provenance.subject(record),
            provenance.conditions(record),
        ),
        footer=f"{text.DASH_MEANING} The unrounded figures are in record.json.",
    )
