"""Which perturbation leads a report, and what each one is called in it."""

from __future__ import annotations

from collections.abc import Sequence

from ..page.text import NAME_LIMIT, name
from ..records import AttackResult, AuditRecord, Perturbation, Skipped, Sustainability
from ..units import format_epsilon


def strongest(record: AuditRecord) -> AttackResult | None:
    """The attack with the lowest robust accuracy, the larger epsilon among equals; a noise where no attack was run."""
    attacks = [result for result in record.attacks if result.perturbation.kind == "attack"]
    return max(attacks or record.attacks, key=_strength, default=None)


def leading(record: AuditRecord, among: Sequence[Sustainability] | None = None) -> Sustainability | None:
    """The layer measurements that are shown in full: those of the strongest attack that has any (of `among`)."""
    entries = record.sustainability if among is None else among
    by_id = {entry.perturbation: entry for entry in entries}
    ranked = sorted(record.attacks, key=_strength, reverse=True)
    ranked.sort(key=lambda result: result.perturbation.kind != "attack")
    for result in ranked:
        if result.perturbation.id in by_id:
            return by_id[result.perturbation.id]
    return entries[0] if entries else None


def _strength(result: AttackResult) -> tuple[float, float]:
    return -result.robust_accuracy.value, result.perturbation.epsilon


def labels(record: AuditRecord) -> dict[str, str]:
    """Short names of the perturbations by id: the norm is told where several are used, the id where names collide."""
    perturbations = [result.perturbation for result in record.attacks]
    several_norms = len({perturbation.norm for perturbation in perturbations}) > 1
    short = {perturbation.id: _label(perturbation, several_norms) for perturbation in perturbations}
    taken = list(short.values())
    named = {id_: label if taken.count(label) == 1 else name(id_) for id_, label in short.items()}
    for entry in record.sustainability:
        named.setdefault(entry.perturbation, name(entry.perturbation))
    for table in record.neurons:
        named.setdefault(table.perturbation, name(table.perturbation))
    return named


def attack_name(perturbation: Perturbation, limit: int = NAME_LIMIT) -> str:
    """The attack or noise, with the layer that it moves where it moves one: `layer-pgd[fc]`."""
    layer = "" if perturbation.layer is None else f"[{perturbation.layer}]"
    return name(f"{perturbation.name}{layer}", limit)


def _label(perturbation: Perturbation, with_norm: bool) -> str:
    norm = f"{perturbation.norm} " if with_norm else ""
    return f"{attack_name(perturbation)} {norm}{format_epsilon(perturbation.epsilon)}"


def skipped(record: AuditRecord) -> tuple[Skipped, ...]:
    """Everything that was not measured, the walker's part included, each once."""
    return tuple(dict.fromkeys((*record.skipped, *record.graph.skipped)))
