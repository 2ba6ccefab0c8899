"""Records about attacks: of every kind and in health, and a model on which they all fail."""

from __future__ import annotations

from lsa_audit.findings import judged
from lsa_audit.records import AttackResult, AuditRecord, Perturbation, Sweep

from .builders import RESNET, attacked, build, distances, examined, measured, perturbation, signs, stage


def _with_settings(name: str, epsilon: float, **changes: object) -> Perturbation:
    return perturbation(name, epsilon).model_copy(update=changes)


def ensembles() -> AuditRecord:
    """Attacks of every kind that work, some of their verdicts inferred from others; layers measured under pgd only."""
    small, large = 2 / 255, 8 / 255
    pgd = [
        attacked(perturbation("pgd", epsilon), right, signs=signs()) for epsilon, right in ((small, 90), (large, 60))
    ]
    cascade = {
        small: (stage("apgd-ce", 50, 100, 20), stage("apgd-t", 50, 80, 0, classes=4), stage("square", 1_500, 80, 1)),
        large: (stage("apgd-ce", 50, 183, 124), stage("apgd-t", 50, 59, 0, classes=4), stage("square", 1_500, 59, 1)),
    }
    members = (
        stage("apgd-ce", 100, 183, 150),
        stage("apgd-t", 100, 33, 33, classes=9),
        stage("fab-t", 100, 0, 0, classes=9),
        stage("square", 5_000, 0, 0),
    )
    attacks: list[AttackResult] = [
        *pgd,
        attacked(_with_settings("cascade", small, steps=3_000), 79, stages=cascade[small], signs=signs(), attacked=100),
        attacked(_with_settings("cascade", large, steps=3_000), 58, stages=cascade[large], signs=signs(), attacked=183),
        attacked(_with_settings("autoattack", large, steps=0), 0, stages=members, signs=signs(), attacked=183),
        *(
            attacked(
                _with_settings("fab-t", epsilon, minimal=True, steps=50), right, signs=signs(), distances=distances()
            )
            for epsilon, right in ((small, 88), (large, 40))
        ),
        attacked(_with_settings("layer-pgd", large, layer="layer1.0.conv1", steps=20), 100, signs=signs()),
        attacked(perturbation("uniform", large, kind="noise"), 170),
    ]
    falls = (("pgd", (93, 30), 60), ("cascade", (104, 21), 58), ("fab-t", (95, 48), 40))
    sweeps = tuple(
        Sweep(
            name=name,
            norm="linf",
            epsilons=(small, large),
            first_fooled=counts,
            unbroken=left,
            median=small if counts[0] > 91 else large,
        )
        for name, counts, left in falls
    )
    shown = [entry.perturbation.id for entry in pgd]
    record = build(
        attacks=tuple(attacks),
        sweeps=sweeps,
        health=examined(),
        sustainability=tuple(measured(id_, RESNET, top, (5,)) for id_, top in zip(shown, (0.4, 0.9), strict=True)),
        neurons=(),
    )
    return judged(record)


def masked() -> AuditRecord:
    """A model that hides its gradients: many signs at every epsilon."""
    bad = signs(vanishing_gradient=170, fooled_later=0, rising_share=0.01, nonfinite_gradient=5)
    attacks = tuple(
        attacked(
            perturbation(name, level / 255), 170 - level, zero_gradient=60 + level, signs=bad, nonfinite=level // 8
        )
        for name in ("pgd", "apgd-ce")
        for level in (1, 2, 4, 8)
    )
    record = build(
        attacks=attacks,
        health=examined(outputs="probabilities", saturated=150, repeat_difference=0.02, training_layers=("bn1", "bn2")),
        sustainability=(),
        neurons=(),
    )
    return judged(record)
