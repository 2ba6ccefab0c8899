"""The figure that each rule looks at, in words and as a number. Whether that is bad the rules tell, not this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..records import AttackResult, AuditRecord, Suspicion
from ..records.attacks import beside_one_step
from ..units import DARK, format_number, format_percent, quantity
from . import comparisons, determinism, gradients, outputs, progress, single_step, slopes
from .attack_health import attacks

NO_GRADIENTS = "no attack with gradients was run"
NO_HEALTH = "the record does not hold what it looks at"


@dataclass(frozen=True)
class Observation:
    """A figure; `subject` is a perturbation's id, or empty for the model; the higher `degree`, the worse."""

    subject: str
    words: str
    figure: float | None = None
    by: str = ""
    degree: float = 0.0


Look = Callable[[AuditRecord], list[Observation] | str]
"""The figures of a record, or why there is none."""


@dataclass(frozen=True)
class FigureRule:
    """How a rule's figure is found, and the limit from which on it is an error (a warning, where it has no error)."""

    look: Look
    limit: float | None = None


def _no_attack(record: AuditRecord) -> list[Observation]:
    count = len(attacks(record))
    return [Observation("", quantity(count, "attack"), count)]


def _never_right(record: AuditRecord) -> list[Observation]:
    clean = record.clean
    return [Observation("", f"{clean.count:,} of {clean.total:,} clean images right", clean.value)]


def _clean_accuracy(record: AuditRecord) -> list[Observation] | str:
    if record.labels.source == "self":
        return "right means the model's own answer here"
    return [Observation("", f"{format_percent(record.clean.value)} of the clean images right", record.clean.value)]


def _pixel_range(record: AuditRecord) -> list[Observation] | str:
    largest = record.data.largest_pixel
    if largest is None:
        return NO_HEALTH
    return [Observation("", f"the largest pixel value is {format_number(largest)} of 1", largest)]


def _batch_coupled(record: AuditRecord) -> list[Observation] | str:
    free = record.graph.batch_independent
    if free is None:
        return "it could not be tried"
    return [Observation("", "logits are the image's own" if free else "logits depend on the rest of the batch")]


def _training_mode(record: AuditRecord) -> list[Observation] | str:
    if record.health is None:
        return NO_HEALTH
    count = len(record.health.training_layers)
    return [Observation("", f"{quantity(count, 'layer')} in training mode", count)]


def _random_outputs(record: AuditRecord) -> list[Observation] | str:
    if record.health is None:
        return NO_HEALTH
    apart = record.health.repeat_difference
    return [Observation("", f"two forwards differ by {format_number(apart)} of the largest logit", apart)]


def _probability_outputs(record: AuditRecord) -> list[Observation] | str:
    if record.health is None:
        return NO_HEALTH
    return [Observation("", record.health.outputs if record.model.outputs is None else record.model.outputs.sentence)]


def _saturated(record: AuditRecord) -> list[Observation] | str:
    if record.health is None:
        return NO_HEALTH
    return [_part("", record.health.saturated, record.clean.total, "clean images")]


def _at_bounds(record: AuditRecord) -> list[Observation] | str:
    if record.health is None or record.health.at_bounds is None:
        return NO_HEALTH
    return [_part("", record.health.at_bounds, record.clean.total, "clean images")]


def _nonfinite_logits(record: AuditRecord) -> list[Observation] | str:
    return [
        _part(result.perturbation.id, result.nonfinite, result.robust_accuracy.total, "perturbed images")
        for result in record.attacks
    ] or "nothing was run"


def _with_gradients(record: AuditRecord) -> list[AttackResult]:
    return [result for result in attacks(record) if result.signs is not None]


def _nonfinite_gradients(record: AuditRecord) -> list[Observation] | str:
    return [
        _part(result.perturbation.id, result.signs.nonfinite_gradient, result.robust_accuracy.total, "images")
        for result in _with_gradients(record)
        if result.signs is not None
    ] or NO_GRADIENTS


def _zero(record: AuditRecord) -> list[Observation] | str:
    return [
        _part(result.perturbation.id, result.zero_gradient, result.robust_accuracy.count, "robust verdicts")
        for result in _with_gradients(record)
    ] or NO_GRADIENTS


def _vanishing(record: AuditRecord) -> list[Observation] | str:
    return [
        _part(
            result.perturbation.id,
            result.signs.vanishing_gradient - result.zero_gradient,
            result.robust_accuracy.count,
            "robust verdicts",
        )
        for result in _with_gradients(record)
        if result.signs is not None
    ] or NO_GRADIENTS


def _slopes(record: AuditRecord) -> list[Observation] | str:
    trial = None if record.health is None else record.health.slopes
    if trial is None:
        return NO_HEALTH if record.health is None else NO_GRADIENTS
    if not trial.tested:
        return "on no right image did the loss change by more than rounding"
    if slopes.wrong_parts(trial) and trial.downhill <= slopes.DOWNHILL_SHARE * trial.tested:
        words = f"the loss falls along {trial.parts_downhill:,} of {trial.smooth:,} parts of the gradients"
        return [Observation("", words, trial.parts_downhill / trial.smooth)]
    words = f"the loss falls along the gradient on {trial.downhill:,} of {quantity(trial.tested, 'image')}"
    return [Observation("", words, trial.downhill / trial.tested)]


def _objective(record: AuditRecord) -> list[Observation] | str:
    found = []
    for result in attacks(record):
        share = None if result.signs is None else result.signs.rising_share
        if share is not None and result.perturbation.steps != 1:
            words = f"{format_percent(share)} of the steps raised the objective"
            found.append(Observation(result.perturbation.id, words, share, degree=1 - share))
    return found or "no attack that climbs step by step left an image right"


def _first_step(record: AuditRecord) -> list[Observation] | str:
    found = []
    for result in attacks(record):
        entry = result.perturbation
        # A minimal-norm search also fools images beyond its epsilon, which `fooled` does not count.
        if result.signs is not None and result.fooled and entry.steps != 1 and not entry.minimal:
            later = result.signs.fooled_later
            words = f"{later:,} of {result.fooled:,} fooled images fell after the first step"
            found.append(Observation(entry.id, words, later, degree=1 / (1 + later)))
    return found or "no attack of several steps fooled an image"


def _unbounded(record: AuditRecord) -> list[Observation] | str:
    trial = None if record.health is None else record.health.unbounded
    if trial is None:
        return NO_HEALTH if record.health is None else NO_GRADIENTS
    if not trial.images:
        return "no image withstood every attack"
    if trial.fooled == trial.images == trial.by_chance:
        return "one random picture fools every image, so it proves nothing"
    words = f"{trial.fooled:,} of {trial.images:,} images fall where nothing bounds the attack"
    chance = "" if trial.by_chance is None else f", {trial.by_chance:,} of them by chance alone"
    return [Observation("", f"{words}{chance}", 1 - trial.fooled / trial.images)]


def _compared(suspicion: Suspicion) -> Look:
    def look(record: AuditRecord) -> list[Observation] | str:
        if record.health is None:
            return NO_HEALTH
        return [
            _missed(pair.stronger, pair.missed, pair.robust, pair.weaker)
            for pair in record.health.comparisons
            if pair.suspicion == suspicion
        ] or "no two of the attacks can be compared in this way"

    return look


def _black_box(record: AuditRecord) -> list[Observation] | str:
    """The recorded pairs, and ensembles whose last member works without gradients on what the others left right."""
    recorded = _compared("black-box")(record)
    found = [] if isinstance(recorded, str) else recorded
    for result in attacks(record):
        ran = [stage for stage in result.stages if stage.images]
        if ran and not ran[-1].backwards and any(stage.backwards for stage in ran):
            found.append(_missed(result.perturbation.id, ran[-1].fooled, ran[-1].images, f"its member {ran[-1].name}"))
    return found or (recorded if isinstance(recorded, str) else "")


def _single_step(record: AuditRecord) -> list[Observation] | str:
    return [
        _missed(
            result.perturbation.id,
            max(0, result.robust_accuracy.count - strongest.robust_accuracy.count),
            result.robust_accuracy.count,
            strongest.perturbation.id,
        )
        for result, strongest in beside_one_step(attacks(record))
    ] or "no attack of one step ran beside one of several"


FIGURES: dict[str, FigureRule] = {
    "no-attack": FigureRule(_no_attack, 1),
    "never-right": FigureRule(_never_right, 0),
    "batch-coupled": FigureRule(_batch_coupled),
    "training-mode": FigureRule(_training_mode, 0),
    "random-outputs": FigureRule(_random_outputs, determinism.REPEAT_LIMIT),
    "probability-outputs": FigureRule(_probability_outputs),
    "saturated-logits": FigureRule(_saturated, outputs.SATURATED_SHARE),
    "saturated-outputs": FigureRule(_at_bounds, outputs.BOUNDS_SHARE),
    "nonfinite-logits": FigureRule(_nonfinite_logits, 0),
    "nonfinite-gradients": FigureRule(_nonfinite_gradients, gradients.NONFINITE_SHARE),
    "zero-gradients": FigureRule(_zero, gradients.ZERO_SHARE),
    "vanishing-gradients": FigureRule(_vanishing, gradients.VANISHING_SHARE),
    "wrong-gradients": FigureRule(_slopes, slopes.DOWNHILL_SHARE),
    "objective-does-not-rise": FigureRule(_objective),
    "first-step-only": FigureRule(_first_step, 0),
    "unbounded-attack-fails": FigureRule(_unbounded, progress.SURVIVING_SHARE),
    "weaker-with-more-steps": FigureRule(_compared("more-steps"), comparisons.MISSED_SHARE),
    "weaker-with-larger-epsilon": FigureRule(_compared("larger-epsilon"), comparisons.MISSED_SHARE),
    "black-box-beats-white-box": FigureRule(_black_box, comparisons.BLACK_BOX_SHARE),
    "noise-beats-gradient": FigureRule(_compared("noise"), comparisons.MISSED_SHARE),
    "single-step-misled": FigureRule(_single_step, single_step.MISLED_SHARE),
    "clean-accuracy": FigureRule(_clean_accuracy),
    "pixel-range": FigureRule(_pixel_range, DARK),
    "unmeasured": FigureRule(
        lambda record: [Observation("", f"{len(record.skipped):,} not measured", len(record.skipped))], 0
    ),
}
"""By the id of the rule. A rule without a figure is recorded with its level alone."""


def _part(subject: str, count: int, total: int, noun: str) -> Observation:
    words = f"{count:,} of {total:,} {noun}" if count else f"none of the {noun}"
    share = count / max(total, 1)
    return Observation(subject, words, share, degree=share)


def _missed(outdone: str, missed: int, robust: int, weaker: str) -> Observation:
    seen = _part(outdone, missed, robust, "robust verdicts")
    return Observation(seen.subject, seen.words, seen.figure, weaker if missed else "", seen.degree)
