"""Whether the search of an attack got anywhere."""

from __future__ import annotations

from ..records import AttackResult, AuditRecord, Finding
from .advice import add
from .attack_health import NEGLIGIBLE, at_stake, attacks, graded, health, level_of
from .outputs import is_saturated, on_cross_entropy

SURVIVORS = 2
"""One image may be stuck where it starts."""
SURVIVING_SHARE = 0.1
"""Of the images that are tried, more than one in ten stuck is no accident."""
RISING_STEPS = 1.0
"""The first step of a working attack raises its objective, even where the ball's edge stops every later one."""
FALLEN_IMAGES = 10
"""With fewer fallen images, all of them may fall at once by chance."""
EARLY_QUERIES = 2
"""The start and the first step, as `AttackSigns.fooled_later` counts."""


def unbounded(record: AuditRecord) -> list[Finding]:
    """Images that survive an attack in a ball as wide as the pixel range."""
    trial = None if record.health is None else record.health.unbounded
    if trial is None or trial.fooled == trial.images:
        return []
    left, chance = trial.images - trial.fooled, trial.by_chance or 0
    beside = f" One random picture alone fools {chance}." if chance else ""
    message = (
        f"{left} of {trial.images} images survive {trial.perturbation}, where every other image can be reached."
        f"{beside} The attack does not work on this model, or the model's answer hardly depends on the image. Look at "
        "the other signs, and do not read robust verdicts as robustness."
    )
    # What chance fools proves nothing, so only the others count.
    many = left >= SURVIVORS and left > SURVIVING_SHARE * max(trial.images - chance, left)
    severe = (many or trial.fooled <= chance > 0) and at_stake(record) and not _reached(record)
    return [health("unbounded-attack-fails", graded(severe), record.model.name, message)]


def objective(record: AuditRecord) -> list[Finding]:
    """Iterative attacks whose steps do not raise what they climb."""
    findings = []
    for result in attacks(record):
        if _climbs(result):
            continue
        # There the rise is real but below the rounding of a cross-entropy of 0; `saturated-logits` tells of it.
        hidden = is_saturated(record) and on_cross_entropy(result)
        level = level_of(record, result, not hidden, _climbs)
        message = (
            f"On the {result.robust_accuracy.count} images that stayed right, {_rising_steps(result):.2g} of "
            f"{_steps(result)} steps raised the objective: the search did not move uphill, and the true "
            "robust accuracy can be lower. Look at the step size and the gradients."
            f"{add(record, result, 'apgd-t', 'square')}"
        )
        findings.append(health("objective-does-not-rise", level, result.perturbation.id, message))
    return findings


def first_step(record: AuditRecord) -> list[Finding]:
    """Iterative attacks of which only the start and the first step fooled anything."""
    findings = []
    for result in attacks(record):
        signs, fallen = result.signs, _fallen(result)
        if signs is None or not _iterates(result) or signs.fooled_later or fallen < FALLEN_IMAGES:
            continue
        if not result.robust_accuracy.count:
            continue
        message = (
            f"All {fallen} images that fell did so in the first {EARLY_QUERIES} queries; none of the later "
            f"steps fooled one of the {result.robust_accuracy.count} others. Either the model is close to linear in "
            "this ball, or the gradient misleads after the first step. Compare with other step sizes."
            f"{add(record, result, 'square')}"
        )
        findings.append(health("first-step-only", "warning", result.perturbation.id, message))
    return findings


def _reached(record: AuditRecord) -> bool:
    """Whether an attack inside a ball took nearly all images: what is left for the trial is then no fair sample."""
    return any(result.robust_accuracy.value < NEGLIGIBLE for result in attacks(record))


def _climbs(result: AttackResult) -> bool:
    """Whether enough steps raised the objective, or nothing is known of that."""
    known = result.signs is not None and result.signs.rising_share is not None and _iterates(result)
    return not known or _rising_steps(result) >= RISING_STEPS


def _rising_steps(result: AttackResult) -> float:
    """Steps of one run that raised the objective, on average over the robust verdicts."""
    share = 0.0 if result.signs is None else result.signs.rising_share or 0.0
    return share * _steps(result)


def _steps(result: AttackResult) -> int:
    """Steps of one run; in an ensemble, whose own number means something else, those of its longest climb."""
    return max((stage.steps for stage in result.stages if stage.backwards), default=result.perturbation.steps)


def _iterates(result: AttackResult) -> bool:
    return _steps(result) > 1 and result.perturbation.epsilon > 0


def _fallen(result: AttackResult) -> int:
    """Images that fell in this run, at least: those whose verdict follows from another epsilon are not among them."""
    if result.attacked is None:
        return result.fooled
    return max(0, min(result.fooled, result.attacked - result.robust_accuracy.count))
