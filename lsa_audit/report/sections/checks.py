"""What each attack-health check looked at, in figures. The findings tell whether that is bad; nothing here does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...records import AttackResult, AuditRecord, Suspicion
from ...records.attacks import beside_one_step
from .. import selection, text

BATCH = {True: "logits are the image's own", False: "logits depend on the rest of the batch"}


@dataclass(frozen=True)
class Seen:
    """A figure in words; `subject` is a perturbation's id, or empty for the model; the higher `degree`, the worse."""

    subject: str
    words: str
    degree: float = 0.0


Look = Callable[[AuditRecord], Iterator[Seen]]


def _no_attack(record: AuditRecord) -> Iterator[Seen]:
    yield Seen("", text.quantity(len(_attacks(record)), "attack"))


def _never_right(record: AuditRecord) -> Iterator[Seen]:
    yield Seen("", f"{record.clean.count:,} of {record.clean.total:,} clean images right")


def _batch_coupled(record: AuditRecord) -> Iterator[Seen]:
    if record.graph.batch_independent is not None:
        yield Seen("", BATCH[record.graph.batch_independent])


def _training_mode(record: AuditRecord) -> Iterator[Seen]:
    if record.health is not None:
        yield Seen("", f"{text.quantity(len(record.health.training_layers), 'layer')} in training mode")


def _random_outputs(record: AuditRecord) -> Iterator[Seen]:
    if record.health is not None:
        yield Seen("", f"two forwards differ by {text.number(record.health.repeat_difference)} of the largest logit")


def _probability_outputs(record: AuditRecord) -> Iterator[Seen]:
    if record.health is not None:
        yield Seen("", record.health.outputs if record.model.outputs is None else record.model.outputs.sentence)


def _saturated(record: AuditRecord) -> Iterator[Seen]:
    if record.health is not None:
        yield Seen("", _part(record.health.saturated, record.clean.total, "clean images"))


def _nonfinite_logits(record: AuditRecord) -> Iterator[Seen]:
    for result in record.attacks:
        yield _share(result, result.nonfinite, result.robust_accuracy.total, "perturbed images")


def _nonfinite_gradients(record: AuditRecord) -> Iterator[Seen]:
    for result in _attacks(record):
        if result.signs is not None:
            yield _share(result, result.signs.nonfinite_gradient, result.robust_accuracy.total, "images")


def _zero(record: AuditRecord) -> Iterator[Seen]:
    for result in _attacks(record):
        if result.signs is not None:
            yield _share(result, result.zero_gradient, result.robust_accuracy.count, "robust verdicts")


def _vanishing(record: AuditRecord) -> Iterator[Seen]:
    for result in _attacks(record):
        if result.signs is not None:
            count = result.signs.vanishing_gradient - result.zero_gradient
            yield _share(result, count, result.robust_accuracy.count, "robust verdicts")


def _objective(record: AuditRecord) -> Iterator[Seen]:
    for result in _attacks(record):
        share = None if result.signs is None else result.signs.rising_share
        if share is not None and result.perturbation.steps != 1:
            yield Seen(result.perturbation.id, f"{text.percent(share)} of the steps raised the objective", 1 - share)


def _first_step(record: AuditRecord) -> Iterator[Seen]:
    for result in _attacks(record):
        entry = result.perturbation
        # A minimal-norm search also fools images beyond its epsilon, which `fooled` does not count.
        if result.signs is not None and result.fooled and entry.steps != 1 and not entry.minimal:
            later = result.signs.fooled_later
            words = f"{later:,} of {result.fooled:,} fooled images fell after the first step"
            yield Seen(entry.id, words, 1 / (1 + later))


def _unbounded(record: AuditRecord) -> Iterator[Seen]:
    trial = None if record.health is None else record.health.unbounded
    if trial is not None and trial.images:
        yield Seen("", f"{trial.fooled:,} of {trial.images:,} images fall where nothing bounds the attack")


def _compared(suspicion: Suspicion) -> Look:
    def look(record: AuditRecord) -> Iterator[Seen]:
        named = selection.labels(record)
        for pair in () if record.health is None else record.health.comparisons:
            if pair.suspicion == suspicion:
                weaker = named.get(pair.weaker) or text.name(pair.weaker)
                yield _missed(pair.stronger, pair.missed, pair.robust, weaker)

    return look


def _black_box(record: AuditRecord) -> Iterator[Seen]:
    """The recorded pairs, and ensembles whose last member works without gradients on what the others left right."""
    yield from _compared("black-box")(record)
    for result in _attacks(record):
        ran = [stage for stage in result.stages if stage.images]
        if ran and not ran[-1].backwards and any(stage.backwards for stage in ran):
            member = f"its member {text.name(ran[-1].name)}"
            yield _missed(result.perturbation.id, ran[-1].fooled, ran[-1].images, member)


def _single_step(record: AuditRecord) -> Iterator[Seen]:
    named = selection.labels(record)
    for result, strongest in beside_one_step(_attacks(record)):
        misled = max(0, result.robust_accuracy.count - strongest.robust_accuracy.count)
        stronger = named.get(strongest.perturbation.id) or text.name(strongest.perturbation.id)
        yield _missed(result.perturbation.id, misled, result.robust_accuracy.count, stronger)


CHECKS: dict[str, Look] = {
    "no-attack": _no_attack,
    "never-right": _never_right,
    "batch-coupled": _batch_coupled,
    "training-mode": _training_mode,
    "random-outputs": _random_outputs,
    "probability-outputs": _probability_outputs,
    "saturated-logits": _saturated,
    "nonfinite-logits": _nonfinite_logits,
    "nonfinite-gradients": _nonfinite_gradients,
    "zero-gradients": _zero,
    "vanishing-gradients": _vanishing,
    "objective-does-not-rise": _objective,
    "first-step-only": _first_step,
    "unbounded-attack-fails": _unbounded,
    "weaker-with-more-steps": _compared("more-steps"),
    "weaker-with-larger-epsilon": _compared("larger-epsilon"),
    "black-box-beats-white-box": _black_box,
    "noise-beats-gradient": _compared("noise"),
    "single-step-misled": _single_step,
}
"""By the id of the rule that judges it, in the order of the rules."""


def _attacks(record: AuditRecord) -> list[AttackResult]:
    return [result for result in record.attacks if result.perturbation.kind == "attack"]


def _share(result: AttackResult, count: int, total: int, noun: str) -> Seen:
    return Seen(result.perturbation.id, _part(count, total, noun), count / max(total, 1))


def _missed(outdone: str, missed: int, robust: int, weaker: str) -> Seen:
    words = _part(missed, robust, "robust verdicts")
    return Seen(outdone, f"{words}, fooled by {weaker}" if missed else words, missed / max(robust, 1))


def _part(count: int, total: int, noun: str) -> str:
    return f"{count:,} of {total:,} {noun}" if count else f"none of the {noun}"
