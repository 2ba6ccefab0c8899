"""Builders of hardenings: one that helped, and every other way that one can end."""

from __future__ import annotations

from typing import Any

from lsa_audit.findings import judged
from lsa_audit.records import AuditRecord, DataInfo, Finding, LabelInfo, Skipped
from lsa_audit.records.hardening import ChosenLayer, Epoch, GridScore, Hardening, LayerShift, TrainingLog
from lsa_audit.records.repair import Change, RepairedFile
from lsa_audit.stats.statistics import estimate, mcnemar_change, paired_difference

from .builders import RESNET, build, examined

TOTAL = 200
BEFORE = (1.31, 0.92, 0.55, 0.61, 0.43, 0.35, 0.28)
AFTER = (0.11, 0.13, 0.16, 0.22, 0.24, 0.31, 0.36)
RECIPE = {
    "at": "pgd",
    "reg": "atlr",
    "epsilon": 4 / 255,
    "step_size": None,
    "gamma": {"conv1": 0.5, "layer1.0.conv1": 0.25},
    "augment": ["flip", "crop"],
    "deterministic": True,
    "lr": 0.01,
    "epochs": 12,
    "layers": "mvl",
}


def change(name: str, right: int, gained: int, lost: int) -> Change:
    difference, low, high = paired_difference(gained, lost, TOTAL)
    return Change(
        id=name,
        before=estimate(right, TOTAL),
        after=estimate(right + gained - lost, TOTAL),
        gained=gained,
        lost=lost,
        difference=difference,
        low=low,
        high=high,
        p_value=mcnemar_change(gained, lost),
    )


def images(name: str, samples: int, mark: str) -> DataInfo:
    return DataInfo(
        name=name,
        source="arrays",
        interpretation="uint8 NHWC",
        selection=f"{samples:,} of {name}, seed 0",
        samples=samples,
        total=4_000,
        classes=10,
        sha256=mark * 64,
    )


def epoch(number: int, **changes: Any) -> Epoch:
    fields = {
        "epoch": number,
        "step": 28 * number,
        "lr": 0.01 * (1 - number / 14),
        "epsilon": min(number, 2) * 2 / 255,
        "loss": 1.1 + 1.2 / number,
        "penalty": 0.3 / number,
        "train_robust": 0.2 + 0.025 * number,
        "clean": 0.9 - 0.3 / number,
        "robust": 0.34 - 0.3 / number - (0.02 if number > 10 else 0),
        "kept": number in (1, 4, 10),
        "duration_s": 31.4,
        "images_per_s": 118.2,
    }
    return Epoch(**{**fields, **changes})


def trained(**changes: Any) -> TrainingLog:
    fields = {
        "epochs": tuple(epoch(number) for number in range(1, 13)),
        "ending": "finished",
        "detail": "all 12 epochs were done",
        "kept_epoch": 10,
        "clean_before": 0.915,
        "robust_before": 0.005,
    }
    return TrainingLog(**{**fields, **changes})


def shift(layer: str, before: float | None, after: float | None, **changes: Any) -> LayerShift:
    fields = {"chosen": layer in RECIPE["gamma"], "in_mvl_before": (before or 0) > 0.9}
    return LayerShift(
        **{"layer": layer, "before": before, "after": after, "in_mvl_after": (after or 0) > 0.3, **fields, **changes}
    )


def sign(rule: str, message: str, level: str = "warning") -> Finding:
    return Finding(rule=rule, group="attack-health", level=level, subject="pgd@linf-0.0313725", message=message)


def hardening(**changes: Any) -> Hardening:
    """Of a model that gained under every attack that decides, with the given fields in place of its own."""
    base = build()
    fields = {
        "tool_version": "0.1.0",
        "subject": "models/resnet20.pt",
        "model": base.model,
        "labels": base.labels,
        "recipe": RECIPE,
        "title": "PGD-7 at linf 4/255 with atlr",
        "training": images("cifar10_train", 3_600, "1"),
        "validation": images("cifar10_train", 400, "2"),
        "test": images("cifar10_test", TOTAL, "3"),
        "eta": 0.8,
        "chosen": (
            ChosenLayer(layer="conv1", gamma=0.5, relative_error=1.29),
            ChosenLayer(layer="layer1.0.conv1", gamma=0.25, relative_error=0.9),
        ),
        "log": trained(),
        "before": build(health=examined(), findings=(sign("few-steps", "fgsm finds what pgd misses."),)),
        "after": judged(build(health=examined())),
        "changes": (
            change("clean", 183, 3, 11),
            change("fgsm@linf-4/255", 41, 52, 4),
            change("pgd@linf-4/255", 2, 61, 1),
            change("apgd-t@linf-4/255", 0, 54, 0),
        ),
        "strongest": ("pgd@linf-4/255", "apgd-t@linf-4/255"),
        "layer_attack": "pgd@linf-4/255",
        "layers": tuple(shift(*entry) for entry in zip(RESNET, BEFORE, AFTER, strict=True)),
        "scores": (
            GridScore(
                attack="fgsm",
                epsilons=(0.0, 2 / 255, 4 / 255),
                before=(0.915, 0.41, 0.205),
                after=(0.875, 0.66, 0.445),
                score_before=153.0,
                score_after=198.0,
            ),
        ),
        "verdict": "helped",
        "reason": "every attack finds a significant gain: clean 91.5 % to 87.5 % (p 0.057); pgd 1.0 % to 31.0 %",
        "file": RepairedFile(name="resnet20-hardened.pt", sha256="4" * 64, difference=1.2e-7),
        "environment": base.environment,
        "timing": base.timing,
    }
    return Hardening(**{**fields, **changes})


def without_checkpoint() -> Hardening:
    """A training that collapsed in the second epoch: no file, nothing after."""
    epochs = (epoch(1, kept=False), epoch(2, kept=False, clean=0.1, robust=0.1, train_robust=0.1, penalty=None))
    return hardening(
        log=trained(epochs=epochs, ending="collapsed", detail="chance accuracy in epoch 2", kept_epoch=None),
        after=None,
        changes=(),
        strongest=(),
        layers=tuple(shift(name, before, None) for name, before in zip(RESNET, BEFORE, strict=True)),
        scores=(),
        verdict="no-checkpoint",
        reason="no epoch kept the clean accuracy that was asked for",
        file=None,
    )


def masked() -> Hardening:
    """A gain under the attack of the training that another attack takes away."""
    broken = sign("black-box-stronger", "Square fools 150 images that pgd leaves right.", "error")
    return hardening(
        after=build(health=examined(), findings=(broken, sign("monotone", "Success falls with epsilon."))),
        changes=(
            change("clean", 183, 3, 11),
            change("pgd@linf-4/255", 2, 61, 1),
            change("square@linf-4/255", 3, 2, 2),
        ),
        strongest=("pgd@linf-4/255", "square@linf-4/255"),
        verdict="masked",
        reason="the gain under pgd of 30.0 points is gone under square",
    )


def untouched() -> Hardening:
    """Without attack and regulariser in training: the same layers lead, no row decides but the clean one's."""
    return hardening(
        recipe={**RECIPE, "at": "none", "reg": "none", "gamma": "auto"},
        title="training without attack",
        chosen=(),
        layers=tuple(
            shift(name, before, 0.9 * before, chosen=False, in_mvl_after=before > 0.9)
            for name, before in zip(RESNET, BEFORE, strict=True)
        ),
        verdict="not-helped",
        reason="no significant gain",
        skipped=(Skipped(what="autoattack", reason="time", detail="No time was left."),),
    )


def hostile(name: str) -> Hardening:
    """`name` wherever the record takes a string."""
    base = build()
    wrong = Finding(rule=name, group="attack-health", level="error", subject=name, message=name)
    audit: AuditRecord = build(findings=(wrong,), labels=LabelInfo(source="self", reason=name))
    data = images(name, 100, "5").model_copy(update={"selection": name})
    model = base.model.model_copy(update={"name": name, "architecture": name, "weights": name})
    return hardening(
        tool_version=name,
        subject=name,
        model=model,
        labels=audit.labels,
        recipe={name: name, "at": name, "gamma": {name: 1.0}, "augment": [name]},
        title=name,
        training=data,
        validation=data,
        test=data,
        chosen=(ChosenLayer(layer=name, gamma=None, relative_error=None),),
        log=trained(detail=name, ending="catastrophic-overfitting"),
        before=audit,
        after=audit,
        changes=(change(name, 100, 5, 5),),
        strongest=(name,),
        layer_attack=name,
        layers=(shift(name, 1.0, 2.0), shift("x" * 400, None, 0.5)),
        scores=(hardening().scores[0].model_copy(update={"attack": name}),),
        reason=name,
        file=RepairedFile(name=name, sha256=name, difference=0.0),
        skipped=(Skipped(what=name, reason=name, detail=name),),
        environment=base.environment.model_copy(update={"device": name, "packages": {name: name}, "notes": (name,)}),
        timing=base.timing.model_copy(update={"started_at": name, "stages_s": {name: 1.0}}),
    )
