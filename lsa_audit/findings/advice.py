"""Advice that fits the run: never an attack that ran already, never one that the norm does not have."""

from __future__ import annotations

from ..records import AttackResult, AuditRecord
from .attack_health import same_ball

MEMBERS = {
    "autoattack": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "cascade": ("apgd-ce", "apgd-t", "square"),
}
"""What an ensemble stands for where its stages are not recorded."""
NORMS = {"apgd-t": ("linf", "l2"), "apgd-dlr": ("linf", "l2"), "square": ("linf", "l2"), "fab-t": ("linf", "l2", "l1")}
"""The attacks that advice may name, and where they exist."""


def add(record: AuditRecord, result: AttackResult, *names: str) -> str:
    """`Add apgd-t and square.` with a space before it: those of the names that did not run in the ball of `result`."""
    norm = result.perturbation.norm
    left = [name for name in names if name not in ran(record, result) and norm in NORMS[name]]
    return f" Add {' and '.join(left)}." if left else ""


def ran(record: AuditRecord, result: AttackResult) -> set[str]:
    """The attacks that ran in the ball of `result`, with the members of ensembles."""
    names: set[str] = set()
    for other in same_ball(record, result):
        name = other.perturbation.name
        names |= {name, *MEMBERS.get(name, ()), *(stage.name for stage in other.stages)}
    return names
