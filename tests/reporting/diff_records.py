"""Diffs of every shape that their report meets."""

from __future__ import annotations

from typing import Any

from lsa_audit.records import Finding, Skipped
from lsa_audit.records.diff import (
    AccuracyChange,
    ClassChange,
    ClassTable,
    ComparedRun,
    FindingChanges,
    FlippedImages,
    LayerChange,
    LayerTable,
    NeuronChange,
    RunDiff,
    SkippedChanges,
    Trend,
    Unlike,
)
from lsa_audit.stats.statistics import estimate, mcnemar_change, paired_difference

BALL, FGSM, PGD = "linf-8/255", "fgsm@linf-8/255", "pgd@linf-8/255"


def share(name: str, before: int, gained: int, lost: int, total: int = 200) -> dict[str, Any]:
    """The figures of a share without a correction over several, and what they say."""
    difference, low, high = paired_difference(gained, lost, total)
    p_value = mcnemar_change(gained, lost)
    shown: Trend = "no-difference-shown" if p_value > 0.05 else "better" if difference > 0 else "worse"
    figures = {"difference": difference, "low": low, "high": high, "p_value": p_value, "p_adjusted": p_value}
    sides = {"before": estimate(before, total), "after": estimate(before + gained - lost, total)}
    return {"id": name, "gained": gained, "lost": lost, "trend": shown, **sides, **figures}


def run(name: str, **changes: Any) -> ComparedRun:
    fields = {
        "name": name,
        "kind": "run",
        "subject": "tests/networks.py:resnet20",
        "model": "resnet20",
        "data": "cifar10_test",
        "started_at": "2026-01-02T03:04:05+00:00",
        "tool_version": "0.1.0",
        "images": 200,
        "doubts": (),
    }
    return ComparedRun(**{**fields, **changes})


def layer(name: str, before: float | None, after: float | None, **changes: Any) -> LayerChange:
    difference = None if before is None or after is None else after - before
    fields = {
        "layer": name,
        "before": before,
        "after": after,
        "difference": difference,
        "low": None if difference is None else difference - 0.01,
        "high": None if difference is None else difference + 0.01,
        "p_adjusted": None if difference is None else 0.0004,
        "trend": None if difference is None else "worse" if difference > 0 else "better",
        "in_mvl_before": False,
        "in_mvl_after": False,
    }
    return LayerChange(**{**fields, **changes})


def table(perturbation: str = PGD, **changes: Any) -> LayerTable:
    fields = {
        "perturbation": perturbation,
        "measure": "relative-error",
        "paired": True,
        "lists_compared": True,
        "mvl_before": ("conv1", "old"),
        "mvl_after": ("linear",),
        "layers": (
            layer("conv1", 0.4, 0.3, in_mvl_before=True),
            layer("layer1.0.conv1", 0.25, 0.25, p_adjusted=1.0, trend="no-difference-shown"),
            layer("layer1.0.conv2", None, 0.2),
            layer("linear", 0.3, 0.9, in_mvl_after=True),
        ),
        "only_before": ("old",),
        "only_after": ("layer2.0.conv1", "layer2.0.conv2"),
    }
    return LayerTable(**{**fields, **changes})


def classes(under: str, **changes: Any) -> ClassTable:
    rows = (ClassChange(**share("cat", 20, 0, 15, 22), label=3), ClassChange(**share("dog", 4, 9, 0, 20), label=5))
    return ClassTable(**{"under": under, "classes": rows, "left_out": 8, **changes})


def diff(**changes: Any) -> RunDiff:
    """Better without attack, worse under attack, everything compared."""
    finding = Finding(rule="vulnerable-layers", level="note", subject="linear", message="Moves most under pgd.")
    fields = {
        "tool_version": "0.1.0",
        "before": run("main"),
        "after": run("pruned"),
        "images": 200,
        "label_source": "dataset",
        "not_compared": (),
        "accuracy": (
            AccuracyChange(**share("clean", 180, 12, 1), kind="clean"),
            AccuracyChange(**share(BALL, 90, 2, 40), kind="ball", attacks=(FGSM, PGD)),
            AccuracyChange(**share(FGSM, 110, 3, 5), kind="attack"),
            AccuracyChange(**share(PGD, 90, 2, 40), kind="attack"),
        ),
        "classes": (classes("clean"), classes(BALL)),
        "classes_unknown": None,
        "flipped": (
            FlippedImages(under="clean", newly_wrong=1, newly_right=12, wrong_images=("7",), right_images=("1", "5")),
            FlippedImages(under=BALL, newly_wrong=40, newly_right=2, wrong_images=("4", "9"), right_images=("2", "3")),
        ),
        "named_by": "image-id",
        "layers": (table(FGSM), table()),
        "neurons": (
            NeuronChange(layer="conv1", fragile_before=2, fragile_after=5, neurons_before=16, neurons_after=16),
            NeuronChange(layer="linear", fragile_before=1, fragile_after=1, neurons_before=10, neurons_after=10),
            NeuronChange(layer="old", fragile_before=3, fragile_after=None, neurons_before=8, neurons_after=None),
        ),
        "findings": FindingChanges(new=(finding,), gone=(), same=3),
        "skipped": SkippedChanges(new=(), gone=(), same=0),
        "differences": (Unlike(what="model weights_sha256", before="3f2a9c51", after="9b1c5d3e"),),
        "environment_known": True,
    }
    return RunDiff(**{**fields, **changes})


def worse() -> RunDiff:
    """Under attack alone."""
    return diff(accuracy=tuple(entry for entry in diff().accuracy if entry.id != "clean"), flipped=diff().flipped[1:])


def same() -> RunDiff:
    """A run and itself, without layers and neurons."""
    return diff(
        after=run("main"),
        accuracy=tuple(
            AccuracyChange(**share(entry.id, 100, 0, 0), kind=entry.kind, attacks=entry.attacks)
            for entry in diff().accuracy
        ),
        classes=(),
        classes_unknown="No class has 10 images that both runs have.",
        flipped=(FlippedImages(under="clean", newly_wrong=0, newly_right=0, wrong_images=(), right_images=()),),
        layers=(),
        neurons=(),
        findings=FindingChanges(new=(), gone=(), same=0),
        differences=(),
    )


def partial() -> RunDiff:
    """Two baselines that share little, and whose attacks cannot be relied on."""
    gone = Skipped(what="layer stem.add", reason="batch-dimension-unknown", detail="No dimension is the batch.")
    return diff(
        before=run("baseline", kind="baseline", images=300, doubts=("zero-gradients",)),
        after=run("pruned", kind="baseline", images=250),
        label_source="self",
        not_compared=(
            Unlike(what="images that only one run has", before="100 of 300", after="50 of 250"),
            Unlike(what="pgd@linf-8/255 steps", before="20", after="50"),
            Unlike(what="pgd@linf-2/255", before="not run", after="run"),
            Unlike(what="square@linf-8/255", before="run", after="not run"),
        ),
        accuracy=diff().accuracy[:1] + diff().accuracy[2:3],
        classes=(),
        classes_unknown="Neither side keeps the labels of its images: a baseline does not.",
        flipped=(
            FlippedImages(under="clean", newly_wrong=1, newly_right=12, wrong_images=(), right_images=()),
            FlippedImages(under=FGSM, newly_wrong=5, newly_right=3, wrong_images=("0a" * 8,), right_images=()),
        ),
        named_by="digest",
        layers=(
            table(
                FGSM,
                paired=False,
                lists_compared=False,
                layers=(
                    layer("conv1", 0.4, 0.6, low=None, high=None, p_adjusted=None, trend=None),
                    layer("linear", 0.4, None),
                ),
            ),
        ),
        skipped=SkippedChanges(new=(), gone=(gone,), same=1),
        environment_known=False,
    )


def hostile(name: str) -> RunDiff:
    """`name` wherever a diff takes a string."""
    wrong = Finding(rule=name, group="attack-health", level="error", subject=name, message=name)
    missing = Skipped(what=name, reason=name, detail=name)
    unlike = Unlike(what=name, before=name, after=name)
    odd = run(name, subject=name, model=name, data=name, started_at=name, tool_version=name, doubts=(name,))
    rows = tuple(ClassChange(**share(name, 20, 0, 15, 22), label=place) for place in range(2))
    return diff(
        tool_version=name,
        before=odd,
        after=odd,
        not_compared=(unlike, unlike),
        accuracy=(
            AccuracyChange(**share("clean", 180, 12, 1), kind="clean"),
            AccuracyChange(**share(name, 90, 2, 40), kind="ball", attacks=(name, "x" * 400)),
        ),
        classes=(ClassTable(under=name, classes=rows, left_out=1),),
        flipped=(FlippedImages(under=name, newly_wrong=2, newly_right=1, wrong_images=(name,), right_images=(name,)),),
        layers=(
            table(
                name,
                measure=name,
                mvl_before=(name,),
                mvl_after=("x" * 400,),
                layers=(layer(name, 1.0, 2.0), layer("x" * 400, 0.1, 0.05)),
                only_before=(name,),
                only_after=(name,),
            ),
        ),
        neurons=(NeuronChange(layer=name, fragile_before=1, fragile_after=2, neurons_before=4, neurons_after=4),),
        findings=FindingChanges(new=(wrong,), gone=(wrong,), same=0),
        skipped=SkippedChanges(new=(missing,), gone=(missing,), same=0),
        differences=(unlike,),
    )
