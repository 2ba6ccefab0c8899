"""Pairs of perturbations that came out the wrong way round: what should be weaker fools what the stronger misses."""

from __future__ import annotations

from collections.abc import Callable

from ..records import AttackResult, AuditRecord, Comparison, Finding, Level, Suspicion
from ..units import format_percent
from .advice import add, ran
from .attack_health import attacks, graded, health, outdone, rests_on, same_ball

NOTED_IMAGES = 2
"""One image is chance: a random start, a verdict on the edge."""
NOTED_SHARE = 0.01
"""Below one robust verdict in a hundred the figure moves by less than a point."""
MISSED_IMAGES = 3
"""On few images a large share may be one or two of them."""
MISSED_SHARE = 0.05
"""One robust verdict in twenty is known to be wrong: what else the attack missed is not known."""
BLACK_BOX_SHARE = 0.1
"""Twice as many: what the black-box attack found counts in the figure already; only what it missed too is at stake."""

_SMALLER_DOUBT = "These are few, or a better attack found as much: prefer the lowest figure at this norm and epsilon."

Advice = Callable[[AuditRecord, AttackResult], str]


def more_steps(record: AuditRecord) -> list[Finding]:
    """An attack misses images that it, or a simpler one, finds with fewer steps."""

    def advice(record: AuditRecord, result: AttackResult) -> str:
        text = "The same search with fewer steps should not find more: look at the step size and at the gradients."
        return f"{text}{add(record, result, 'apgd-t', 'square')}"

    return _find(record, "weaker-with-more-steps", "more-steps", advice)


def larger_epsilon(record: AuditRecord) -> list[Finding]:
    """An attack misses images that it finds in a smaller ball."""

    def advice(record: AuditRecord, result: AttackResult) -> str:
        better = "Use more steps, or restarts."
        if result.perturbation.steps == 1:
            several = any(other.perturbation.steps != 1 for other in same_ball(record, result))
            better = "Read the figure as an upper bound." if several else "Use an attack of several steps."
        return f"The larger ball holds the smaller one, so these verdicts are wrong. {better}"

    return _find(record, "weaker-with-larger-epsilon", "larger-epsilon", advice)


def black_box(record: AuditRecord) -> list[Finding]:
    """A search without gradients fools images that attacks with gradients left right."""

    def advice(record: AuditRecord, result: AttackResult) -> str:
        text = "Gradients mislead on this model, and what the search without them missed may fall too."
        more = add(record, result, "apgd-t", "fab-t")
        queries = " Raise the queries of square." if "square" in ran(record, result) else ""
        return f"{text}{more}{queries} Read the figure as an upper bound."

    return _find(record, "black-box-beats-white-box", "black-box", advice, BLACK_BOX_SHARE)


def noise(record: AuditRecord) -> list[Finding]:
    """Noise fools images that an attack with gradients left right."""

    def advice(record: AuditRecord, result: AttackResult) -> str:
        text = "A search should not miss what chance finds: the gradient does not lead anywhere."
        return f"{text}{add(record, result, 'apgd-t', 'square')}"

    return _find(record, "noise-beats-gradient", "noise", advice)


def _find(
    record: AuditRecord, rule: str, suspicion: Suspicion, advice: Advice, share: float = MISSED_SHARE
) -> list[Finding]:
    """One finding for each attack that was outdone, on the pair that shows it best."""
    worst: dict[str, Comparison] = {}
    for pair in (*_recorded(record), *_within_ensembles(record)):
        if pair.suspicion != suspicion or pair.missed < NOTED_IMAGES or pair.missed <= NOTED_SHARE * pair.robust:
            continue
        if pair.stronger not in worst or pair.missed > worst[pair.stronger].missed:
            worst[pair.stronger] = pair
    results = {result.perturbation.id: result for result in attacks(record)}
    findings = []
    for pair in worst.values():
        result = results[pair.stronger]
        level = _level(record, result, pair, share)
        told = advice(record, result) if level == "error" else _SMALLER_DOUBT
        message = (
            f"Of {pair.robust} images that it left right, {pair.missed} ({format_percent(pair.missed / pair.robust)}) "
            f"are fooled by {pair.weaker}. {told}"
        )
        findings.append(health(rule, level, pair.stronger, message))
    return findings


def _level(record: AuditRecord, result: AttackResult, pair: Comparison, share: float) -> Level:
    robust = result.robust_accuracy.count
    # One large step overshoots on healthy models too; that says something only where nothing better was run.
    if result.perturbation.steps == 1 and any(
        other.robust_accuracy.count < robust for other in same_ball(record, result)
    ):
        return "note"
    if outdone(record, result, lambda other: other.perturbation.id != pair.weaker):
        return "note"
    severe = pair.missed >= MISSED_IMAGES and pair.missed > share * pair.robust
    left = min(pair.robust - pair.missed, robust)
    return graded(severe and rests_on(record, result, lambda other: other.perturbation.id != pair.weaker, left))


def _recorded(record: AuditRecord) -> tuple[Comparison, ...]:
    return () if record.health is None else record.health.comparisons


def _within_ensembles(record: AuditRecord) -> list[Comparison]:
    """What a last member without gradients fooled after members with gradients had left it right."""
    pairs = []
    for result in attacks(record):
        ran = [stage for stage in result.stages if stage.images]
        if any(stage.backwards for stage in ran) and not ran[-1].backwards:
            pairs.append(
                Comparison(
                    suspicion="black-box",
                    weaker=f"its member {ran[-1].name}",
                    stronger=result.perturbation.id,
                    missed=ran[-1].fooled,
                    robust=ran[-1].images,
                )
            )
    return pairs
