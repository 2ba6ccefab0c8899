"""What gates say of a run, for the reports' tests: passed, failed, inconclusive, hostile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lsa_audit.records import AuditRecord
from lsa_audit.records.gating import AppliedWaiver, Difference, GateCheck, Gating
from lsa_audit.reporting.shown import Shown


def check(key: str = "clean_accuracy", limit: str = "max_drop", **changes: Any) -> GateCheck:
    """One that passed, with the given fields in place of its own."""
    kind, _, target = key.partition("@")
    usual = {
        "id": f"{key}:{limit}",
        "gate": key,
        "kind": kind,
        "target": target,
        "level": "error",
        "limit": limit,
        "allowed": 0.02,
        "outcome": "passed",
        "sentence": "91.5 % of 200 images are right, 0.5 points below the baseline; at most 2.0 points are allowed",
        "seen": 0.005,
        "low": -0.004,
        "high": 0.014,
        "alpha": 0.05,
        "images": 200,
        "line": 3,
    }
    return GateCheck(**{**usual, **changes})


FAILED = check(
    "robust_accuracy@linf-8/255",
    outcome="failed",
    sentence="0.5 % of 200 images stay right, 9.5 points below the baseline; at most 2.0 points are allowed",
    seen=0.095,
    low=0.061,
    high=0.13,
    p_broken=0.0001,
    p_adjusted=0.0003,
)
UNDECIDED = check(
    "relative_error@layer1.*",
    "max_rise",
    outcome="inconclusive",
    sentence="the mean of layer1.0.conv1 is 0.4 above the baseline's; about 410 images would decide",
    images_needed=410,
)
WARNED = check("fragile_neurons@conv1", "max_rise", level="warn", outcome="failed", sentence="4 neurons, 1 more")
WAIVED = check("skipped", "max", outcome="failed", sentence="2 things were not measured", waiver="known; see the notes")


def gating(*checks: GateCheck, **changes: Any) -> Gating:
    """What gates said with a baseline; without checks given, two that passed."""
    usual = {
        "tool_version": "0.1.0",
        "judged_on": "2025-01-02",
        "run": "resnet20-cifar10",
        "baseline": "baseline.json",
        "profile": "ci.yaml",
        "images": 200,
        "images_paired": 200,
        "checks": checks or (check(), check("robust_accuracy@linf-8/255")),
    }
    return Gating(**{**usual, **changes})


def failed() -> Gating:
    """One that failed beside every other kind of check, waivers of every state, and a changed model."""
    waivers = (
        AppliedWaiver(gate="skipped*", reason="known", expires="2025-12-31", state="used", covers=(WAIVED.id,)),
        AppliedWaiver(gate="mvl*", reason="was new", expires="2024-12-31", state="expired", covers=()),
        AppliedWaiver(gate="clean*", reason="not needed", expires="2025-12-31", state="unused", covers=()),
    )
    differences = (Difference(what="weights", baseline="sha256 12fca82f0ac4", run="sha256 3f2a9c51d0e8"),)
    checks = (check(), UNDECIDED, WARNED, FAILED, WAIVED)
    return gating(*checks, waivers=waivers, differences=differences)


def hostile(name: str) -> Gating:
    """Every word that a profile, a run or a model can choose is `name`."""
    bad = {"id": name, "gate": name, "target": name, "sentence": name}
    checks = (check(outcome="failed", **bad), check(outcome="failed", waiver=name, **bad))
    waiver = AppliedWaiver(gate=name, reason=name, expires=name, state="expired", covers=(name,))
    difference = Difference(what=name, baseline=name, run=name)
    places = {"judged_on": name, "run": name, "baseline": name, "profile": name}
    return gating(*checks, waivers=(waiver,), differences=(difference,), **places)


def inconclusive() -> Gating:
    """One check that the images do not decide beside one that passed."""
    return gating(check(), UNDECIDED)


def waived() -> Gating:
    """Passed, because what failed is waived."""
    waiver = AppliedWaiver(gate="skipped*", reason="known", expires="2025-12-31", state="used", covers=(WAIVED.id,))
    return gating(check(), WAIVED, waivers=(waiver,))


CASES: dict[str, tuple[str, Callable[[AuditRecord], Gating | None]]] = {
    "clean": ("clean", lambda _: None),
    "findings": ("findings", lambda _: None),
    "skipped": ("skipped", lambda _: None),
    "hostile": ("hostile", lambda record: hostile(record.model.name)),
    "gates-passed": ("clean", lambda _: gating()),
    "gates-failed": ("findings", lambda _: failed()),
    "gates-inconclusive": ("clean", lambda _: inconclusive()),
    "gates-waived": ("skipped", lambda _: waived()),
}
"""What the formats for machines are tried on: the name of a sample record, and what gates say of it."""


def shown(case: str, samples: dict[str, AuditRecord]) -> Shown:
    """What a format renders in one of the cases."""
    name, said = CASES[case]
    return Shown(samples[name], said(samples[name]))
