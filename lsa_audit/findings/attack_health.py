"""What the attack-health rules share: which robust accuracies are reported, and which attack they rest on.

The robust accuracy at a norm and an epsilon is the lowest one over the attacks run there. A sign of failure is an error
where that figure could be too high because of it, and a warning where the figure does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable

from ..records import AttackResult, AuditRecord, Finding, Level

NEGLIGIBLE = 0.05
"""A robust accuracy below this says "not robust" whatever a better attack would find: it cannot be much too high."""

Sound = Callable[[AttackResult], bool]


def health(rule: str, level: Level, subject: str, message: str) -> Finding:
    """A finding of the group attack-health."""
    return Finding(rule=rule, group="attack-health", level=level, subject=subject, message=message)


def graded(severe: bool) -> Level:
    """Error where it is severe, else warning."""
    return "error" if severe else "warning"


def attacks(record: AuditRecord) -> list[AttackResult]:
    """The attacks, noises left out."""
    return [result for result in record.attacks if result.perturbation.kind == "attack"]


def at_stake(record: AuditRecord) -> bool:
    """Whether a robust accuracy of the record is high enough to be too high."""
    return any(_lowest(record, result) >= NEGLIGIBLE for result in attacks(record) if result.perturbation.epsilon > 0)


def rests_on(record: AuditRecord, result: AttackResult, sound: Sound, left: int | None = None) -> bool:
    """Whether the robust accuracy at the norm and epsilon of `result` could be too high because `result` failed.

    It could not where it is below `NEGLIGIBLE`, or where another attack with gradients that is `sound` leaves at most
    `left` images right. An attack without gradients does not take over: it finds less than a working one with them.

    Args:
        sound: whether another attack is free of the sign in question.
        left: None: as many as `result` leaves.
    """
    if _lowest(record, result) < NEGLIGIBLE:
        return False
    limit = result.robust_accuracy.count if left is None else left
    return not any(
        other.signs is not None and other.robust_accuracy.count <= limit and sound(other)
        for other in same_ball(record, result)
        if other is not result
    )


def level_of(record: AuditRecord, result: AttackResult, severe: bool, sound: Sound) -> Level:
    """Of a sign of one attack: an error only where the reported figure rests on it, see `rests_on`.

    Of a single step it is a footnote where an attack of several steps, free of the sign, settled the figure.
    """
    if severe and rests_on(record, result, sound):
        return "error"
    return "note" if outdone(record, result, sound) else "warning"


def outdone(record: AuditRecord, result: AttackResult, sound: Sound) -> bool:
    """Whether `result` is of a single step, and a sound attack of several steps leaves no more images right."""
    return result.perturbation.steps == 1 and any(
        other.signs is not None
        and other.perturbation.steps != 1
        and other.robust_accuracy.count <= result.robust_accuracy.count
        and sound(other)
        for other in same_ball(record, result)
    )


def same_ball(record: AuditRecord, result: AttackResult) -> list[AttackResult]:
    """The attacks at the norm and epsilon of `result`, itself among them."""
    ball = (result.perturbation.norm, result.perturbation.epsilon)
    return [other for other in attacks(record) if (other.perturbation.norm, other.perturbation.epsilon) == ball]


def _lowest(record: AuditRecord, result: AttackResult) -> float:
    return min(other.robust_accuracy.value for other in same_ball(record, result))
