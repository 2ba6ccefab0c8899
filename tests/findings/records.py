"""A healthy record of 200 images, 183 of them right, under two attacks at two epsilons; and ways to make it sick."""

from __future__ import annotations

from typing import Any

from lsa_audit.findings import RULES
from lsa_audit.records import (
    Alternative,
    AttackResult,
    AttackSigns,
    AttackStage,
    AuditRecord,
    Comparison,
    Finding,
    ModelHealth,
    SlopeTrial,
    Suspicion,
    UnboundedTrial,
)
from lsa_audit.stats.statistics import estimate

from ..reporting.builders import build, perturbation

IMAGES, RIGHT = 200, 183
SMALL, LARGE = 2 / 255, 8 / 255
STEPS = {"fgsm": 1, "autoattack": 0, "cascade": 3000}
"""As the catalogue has them; an ensemble's own number is not that of its searches."""
FGSM, PGD, SQUARE = (f"{name}@linf-{LARGE:.6g}" for name in ("fgsm", "pgd", "square"))


def signs(**changes: Any) -> AttackSigns:
    """Nothing to complain about."""
    usual = {"nonfinite_gradient": 0, "vanishing_gradient": 0, "fooled_later": 15, "rising_share": 0.6}
    return AttackSigns(**{**usual, **changes})


def attack(name: str, robust: int, epsilon: float = LARGE, norm: str = "linf", **changes: Any) -> AttackResult:
    """An attack that leaves `robust` of the images right; its signs are healthy, and None for square."""
    entry = perturbation(name, epsilon, norm).model_copy(update={"steps": STEPS.get(name, 20)})
    fields = {
        "perturbation": entry,
        "robust_accuracy": estimate(robust, IMAGES),
        "fooled": RIGHT - robust,
        "nonfinite": 0,
        "zero_gradient": 0,
        "forwards": 4_000,
        "backwards": 0 if name == "square" else 4_000,
        "mean_linf": epsilon,
        "mean_l2": 40 * epsilon,
        "signs": None if name == "square" else signs(),
    }
    return AttackResult(**{**fields, **changes})


def health(**changes: Any) -> ModelHealth:
    """A deterministic model with logits, which an unbounded attack fools throughout."""
    trial = UnboundedTrial(perturbation="pgd, 20 steps, epsilon 1", images=32, fooled=32)
    usual = {
        "outputs": "logits",
        "saturated": 0,
        "at_bounds": 0,
        "repeat_difference": 0.0,
        "training_layers": (),
        "unbounded": trial,
    }
    return ModelHealth(**{**usual, **changes})


def slopes(**changes: int) -> SlopeTrial:
    """Of 64 images with gradients that lead uphill."""
    usual = {"images": 64, "tested": 64, "downhill": 0, "tiny": 0, "parts": 512, "smooth": 512, "parts_downhill": 0}
    return SlopeTrial(**{**usual, **changes})


def alternative(before: int, after: int, p_value: float = 1e-6, **changes: Any) -> Alternative:
    """A change of the normalisation on all 200 images."""
    usual = {
        "reading": "normalisation",
        "change": "mean and standard deviation of ImageNet",
        "options": "--mean .485,.456,.406 --std .229,.224,.225",
        "before": estimate(before, IMAGES),
        "after": estimate(after, IMAGES),
        "gained": max(0, after - before),
        "lost": max(0, before - after),
        "p_value": p_value,
    }
    return Alternative(**{**usual, **changes})


def pair(
    suspicion: Suspicion, missed: int, robust: int, weaker: str = "pgd@linf-weak", stronger: str = PGD
) -> Comparison:
    return Comparison(suspicion=suspicion, weaker=weaker, stronger=stronger, missed=missed, robust=robust)


def stage(name: str, images: int, fooled: int, backwards: int) -> AttackStage:
    return AttackStage(
        name=name, steps=50, classes=0, images=images, fooled=fooled, forwards=9 * images, backwards=backwards
    )


def record(*attacks: AttackResult, **changes: Any) -> AuditRecord:
    """With the given attacks, or with fgsm and pgd at both epsilons."""
    usual = (
        attack("fgsm", 150, SMALL),
        attack("fgsm", 120),
        attack("pgd", 146, SMALL),
        attack("pgd", 100),
    )
    fields = {"clean": estimate(RIGHT, IMAGES), "health": health(), "sustainability": (), "neurons": ()}
    return build(attacks=attacks or usual, **{**fields, **changes})


def found(rule: str, subject: AuditRecord) -> list[Finding]:
    return RULES[rule](subject)


def levels(rule: str, subject: AuditRecord) -> list[str]:
    return [finding.level for finding in found(rule, subject)]
