"""Which layers break first."""

from __future__ import annotations

from ..records import AuditRecord, Finding, Sustainability

STABLE_SHARE = 0.9


def find(record: AuditRecord) -> list[Finding]:
    """The MVL list under each attack at its largest epsilon, or the statement that it is empty."""
    largest: dict[str, Sustainability] = {}
    by_id = {entry.perturbation: entry for entry in record.sustainability}
    for result in record.attacks:
        perturbation = result.perturbation
        if perturbation.kind == "attack" and perturbation.id in by_id:
            # Epsilons rise within an attack, so the last one stays.
            largest[f"{perturbation.name} {perturbation.norm}"] = by_id[perturbation.id]
    return [_finding(entry) for entry in largest.values() if entry.highest is not None]


def _finding(entry: Sustainability) -> Finding:
    if not entry.mvl:
        limit = f"mu + {entry.eta:g} sigma under {entry.perturbation}"
        message = f"No layer is above {limit}; highest, below threshold: {entry.highest}."
        return Finding(rule="vulnerable-layers", level="note", subject=str(entry.highest), message=message)
    message = f"Most vulnerable layers under {entry.perturbation}, worst first: {', '.join(entry.mvl)}."
    shares = {measure.layer: measure.mvl_share for measure in entry.layers if measure.mvl_share is not None}
    unstable = [name for name in entry.mvl if shares.get(name, STABLE_SHARE) < STABLE_SHARE]
    if unstable:
        message += f" Listed in fewer than {STABLE_SHARE:.0%} of the bootstrap resamples: {', '.join(unstable)}."
    return Finding(rule="vulnerable-layers", level="note", subject=entry.mvl[0], message=message)
