"""From measurements to findings: one rule a file, each a pure function of the record."""

from __future__ import annotations

from collections.abc import Callable

from ..records import AuditRecord, Finding
from . import attack_health, clean_accuracy, fragile_neurons, labels, unmeasured, vulnerable_layers

RULES: dict[str, Callable[[AuditRecord], list[Finding]]] = {
    "attack-health": attack_health.find,
    "clean-accuracy": clean_accuracy.find,
    "labels": labels.find,
    "vulnerable-layers": vulnerable_layers.find,
    "fragile-neurons": fragile_neurons.find,
    "unmeasured": unmeasured.find,
}

_ORDER = {"error": 0, "warning": 1, "note": 2}


def find_all(record: AuditRecord) -> tuple[Finding, ...]:
    """The findings of every rule, errors first, else in the order of `RULES`."""
    found = [finding for rule in RULES.values() for finding in rule(record)]
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.level]))
