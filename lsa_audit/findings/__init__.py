"""From measurements to findings: rules are pure functions of the record, each with a stable id and a page."""

from __future__ import annotations

from collections.abc import Callable

from ..records import AuditRecord, Check, Finding, FindingGroup, Level, Outcome
from . import (
    clean_accuracy,
    comparisons,
    determinism,
    fragile_neurons,
    gradients,
    labels,
    outputs,
    pixel_range,
    plausibility,
    progress,
    scope,
    single_step,
    slopes,
    unmeasured,
    vulnerable_layers,
)
from .figures import FIGURES, NO_HEALTH, Observation

Rule = Callable[[AuditRecord], list[Finding]]

HEALTH_RULES: dict[str, Rule] = {
    "no-attack": scope.no_attack,
    "never-right": scope.never_right,
    "batch-coupled": determinism.batch_coupled,
    "training-mode": determinism.training_mode,
    "random-outputs": determinism.random_outputs,
    "probability-outputs": outputs.probabilities,
    "saturated-logits": outputs.saturated,
    "saturated-outputs": outputs.at_bounds,
    "nonfinite-logits": outputs.nonfinite_logits,
    "nonfinite-gradients": gradients.nonfinite,
    "zero-gradients": gradients.zero,
    "vanishing-gradients": gradients.vanishing,
    "wrong-gradients": slopes.find,
    "objective-does-not-rise": progress.objective,
    "first-step-only": progress.first_step,
    "unbounded-attack-fails": progress.unbounded,
    "weaker-with-more-steps": comparisons.more_steps,
    "weaker-with-larger-epsilon": comparisons.larger_epsilon,
    "black-box-beats-white-box": comparisons.black_box,
    "noise-beats-gradient": comparisons.noise,
    "single-step-misled": single_step.find,
}
"""Whether the attacks worked at all; causes before the signs that they leave."""

RESULT_RULES: dict[str, Rule] = {
    "clean-accuracy": clean_accuracy.find,
    "plausibility": plausibility.find,
    "pixel-range": pixel_range.find,
    "labels": labels.find,
    "vulnerable-layers": vulnerable_layers.find,
    "fragile-neurons": fragile_neurons.find,
    "unmeasured": unmeasured.find,
}
"""What was measured, and what was not."""

RULES: dict[str, Rule] = {**HEALTH_RULES, **RESULT_RULES}

VERSIONS: dict[str, int] = {
    "vanishing-gradients": 2,
    "nonfinite-logits": 2,
    "zero-gradients": 2,
    "nonfinite-gradients": 2,
    "objective-does-not-rise": 2,
    "unbounded-attack-fails": 2,
}
"""Rules that have judged otherwise before; all others are in their first version."""

_ORDER = {"error": 0, "warning": 1, "note": 2}


def judged(record: AuditRecord) -> AuditRecord:
    """The record with the findings of every rule, and with what each rule saw."""
    found = {name: rule(record) for name, rule in RULES.items()}
    checks = tuple(_check(record, name, findings) for name, findings in found.items())
    listed = [finding for findings in found.values() for finding in findings]
    findings = tuple(sorted(listed, key=lambda finding: _ORDER[finding.level]))
    return record.model_copy(update={"findings": findings, "checks": checks})


def _check(record: AuditRecord, rule: str, findings: list[Finding]) -> Check:
    """What is stored of a rule: its gravest level and the worst figure among those of that level."""
    version = VERSIONS.get(rule, 1)
    group: FindingGroup = "attack-health" if rule in HEALTH_RULES else "result"
    levels: dict[str, Level] = {}
    for finding in sorted(findings, key=lambda finding: -_ORDER[finding.level]):
        levels[finding.subject] = finding.level
    level = min(levels.values(), key=lambda level: _ORDER[level], default=None)
    figure = FIGURES.get(rule)
    seen: list[Observation] | str = [] if figure is None else figure.look(record)
    if isinstance(seen, str):
        if not findings:
            outcome: Outcome = "not-run" if seen == NO_HEALTH else "not-applicable"
            return Check(rule=rule, version=version, group=group, outcome=outcome, reason=seen)
        seen = []
    if findings:
        seen = [one for one in seen if one.subject in levels or not one.subject]
    worst = max(seen, key=lambda one: (-_ORDER.get(levels.get(one.subject, ""), 3), one.degree), default=None)
    return Check(
        rule=rule,
        version=version,
        group=group,
        outcome="ran",
        level=level,
        findings=len(findings),
        subject="" if worst is None else worst.subject,
        seen="" if worst is None else worst.words,
        by="" if worst is None else worst.by,
        figure=None if worst is None else worst.figure,
        limit=None if figure is None else figure.limit,
    )


def find_all(record: AuditRecord) -> tuple[Finding, ...]:
    """The findings of every rule, errors first, else in the order of `RULES`."""
    return judged(record).findings
