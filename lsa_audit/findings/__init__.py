"""From measurements to findings: rules are pure functions of the record, each with a stable id and a page."""

from __future__ import annotations

from collections.abc import Callable

from ..records import AuditRecord, Finding
from . import (
    clean_accuracy,
    comparisons,
    determinism,
    fragile_neurons,
    gradients,
    labels,
    outputs,
    plausibility,
    progress,
    scope,
    single_step,
    unmeasured,
    vulnerable_layers,
)

Rule = Callable[[AuditRecord], list[Finding]]

HEALTH_RULES: dict[str, Rule] = {
    "no-attack": scope.no_attack,
    "never-right": scope.never_right,
    "batch-coupled": determinism.batch_coupled,
    "training-mode": determinism.training_mode,
    "random-outputs": determinism.random_outputs,
    "probability-outputs": outputs.probabilities,
    "saturated-logits": outputs.saturated,
    "nonfinite-logits": outputs.nonfinite_logits,
    "nonfinite-gradients": gradients.nonfinite,
    "zero-gradients": gradients.zero,
    "vanishing-gradients": gradients.vanishing,
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
    "labels": labels.find,
    "vulnerable-layers": vulnerable_layers.find,
    "fragile-neurons": fragile_neurons.find,
    "unmeasured": unmeasured.find,
}
"""What was measured, and what was not."""

RULES: dict[str, Rule] = {**HEALTH_RULES, **RESULT_RULES}

_ORDER = {"error": 0, "warning": 1, "note": 2}


def find_all(record: AuditRecord) -> tuple[Finding, ...]:
    """The findings of every rule, errors first, else in the order of `RULES`."""
    found = [finding for rule in RULES.values() for finding in rule(record)]
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.level]))
