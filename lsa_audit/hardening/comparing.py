"""The same audit before and after: what changed for every attack, layer and grid, and what that amounts to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ..records import AttackResult, AuditRecord, Sustainability
from ..records.hardening import GridScore, LayerShift, Verdict, doubts
from ..records.repair import Change
from ..repairing.outcome import CLEAN, compare, settle
from ..scanning.verdicts import Flags
from ..units import format_percent

Evidence = Mapping[str, NDArray[Any]]


def changes(record: AuditRecord, before: Evidence, after: Evidence) -> tuple[Change, ...]:
    """Clean accuracy first, then every attack of the record, each paired over the same images.

    Args:
        record: of one of the two audits, which ran the same attacks.
        before, after: the per-image arrays of both.
    """
    names = [entry.perturbation.id for entry in record.attacks if entry.perturbation.kind == "attack"]
    clean = compare(CLEAN, _clean(before), _clean(after))
    return (clean, *(compare(name, before[f"right/{name}"], after[f"right/{name}"]) for name in names))


def deciding(record: AuditRecord, epsilon: float, own: str) -> tuple[str, ...]:
    """Ids of the attacks at the training's epsilon: the training's own kind first, then the others.

    Args:
        own: name of the attack that is most like the one in training.
    """
    at_epsilon = [
        entry.perturbation
        for entry in record.attacks
        if entry.perturbation.kind == "attack" and entry.perturbation.epsilon == epsilon
    ]
    return tuple(entry.id for entry in sorted(at_epsilon, key=lambda entry: entry.name != own))


def shifts(
    before: AuditRecord, after: AuditRecord | None, attack: str | None, chosen: Collection[str]
) -> tuple[LayerShift, ...]:
    """The relative error of every measured layer under one perturbation, in the order of execution."""
    first, second = _measured(before, attack), None if after is None else _measured(after, attack)
    if first is None:
        return ()
    later = {entry.layer: entry.mean for entry in second.layers} if second is not None else {}
    return tuple(
        LayerShift(
            layer=entry.layer,
            before=entry.mean,
            after=later.get(entry.layer),
            chosen=entry.layer in chosen,
            in_mvl_before=entry.layer in first.mvl,
            in_mvl_after=second is not None and entry.layer in second.mvl,
        )
        for entry in first.layers
    )


def scores(before: AuditRecord, after: AuditRecord | None) -> tuple[GridScore, ...]:
    """The R&G score of every attack that was run at several epsilons; nothing without an audit after.

    Source: the plain sum of the accuracies in %, clean included, reproduces the published scores of Khalooei et al.,
    arXiv 2202.02626.
    """
    if after is None:
        return ()
    found = []
    for name, results in _by_attack(before).items():
        if len(results) < 2:
            continue
        others = _by_attack(after)[name]
        first = (before.clean.value, *(entry.robust_accuracy.value for entry in results))
        second = (after.clean.value, *(entry.robust_accuracy.value for entry in others))
        found.append(
            GridScore(
                attack=name,
                epsilons=(0.0, *(entry.perturbation.epsilon for entry in results)),
                before=first,
                after=second,
                score_before=100 * sum(first),
                score_after=100 * sum(second),
            )
        )
    return tuple(found)


def verdict(
    found: Sequence[Change], strongest: Sequence[str], after: AuditRecord | None, max_clean_drop: float
) -> tuple[Verdict, str]:
    """What the changes amount to, and why, in one sentence.

    Args:
        found: clean first.
        strongest: ids of those that decide, the training's own first.
        after: None where nothing was kept.
    """
    if after is None:
        return "no-checkpoint", f"no epoch kept the clean accuracy within {format_percent(max_clean_drop)}"
    clean, attacked = found[0], [entry for name in strongest for entry in found if entry.id == name]
    seen = "; ".join(_sentence(entry) for entry in (clean, *attacked))
    sick = [entry.rule for entry in doubts(after, strongest)]
    gained = any(entry.difference > 0 for entry in attacked)
    if sick and gained:
        named = ", ".join(dict.fromkeys(sick))
        return "masked", f"the attacks cannot be relied on after training ({named}), so no gain is shown: {seen}"
    outcome = settle(clean, attacked, max_clean_drop)
    lead = {
        "helped": "every attack at the training's epsilon finds a significant gain",
        "masked": f"the gain under {attacked[0].id} is not there under every other attack: gradient masking",
        "harmed": "something got significantly worse",
        "not-helped": "no significant gain under every attack within the clean accuracy asked for",
    }
    if outcome == "nothing-chosen":
        raise ValueError("a training always changes something")
    return outcome, f"{lead[outcome]}: {seen}"


def _sentence(entry: Change) -> str:
    return (
        f"{entry.id} {format_percent(entry.before.value)} to {format_percent(entry.after.value)} "
        f"(p {entry.p_value:.2g})"
    )


def _clean(evidence: Evidence) -> Flags:
    right: Flags = evidence["clean_predictions"] == evidence["labels"]
    return right


def _measured(record: AuditRecord, attack: str | None) -> Sustainability | None:
    return next((entry for entry in record.sustainability if entry.perturbation == attack), None)


def _by_attack(record: AuditRecord) -> dict[str, list[AttackResult]]:
    grouped: dict[str, list[AttackResult]] = {}
    for entry in sorted(record.attacks, key=lambda entry: entry.perturbation.epsilon):
        if entry.perturbation.kind == "attack":
            grouped.setdefault(entry.perturbation.name, []).append(entry)
    return grouped
