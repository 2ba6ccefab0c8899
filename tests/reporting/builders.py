"""Builders of records: one complete small record, and its parts with any field changed."""

from __future__ import annotations

import math
from typing import Any

from lsa_audit.records import (
    AttackResult,
    AttackSigns,
    AttackStage,
    AuditRecord,
    Comparison,
    Correlation,
    DataInfo,
    Distances,
    DropEffect,
    Environment,
    GraphInfo,
    LabelInfo,
    LayerInfo,
    LayerMeasure,
    ModelHealth,
    ModelInfo,
    Neuron,
    NeuronTable,
    Perturbation,
    SlopeTrial,
    Sustainability,
    Timing,
    UnboundedTrial,
)
from lsa_audit.stats.statistics import estimate

RESNET = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "layer2.0.conv2", "layer3.0.conv1", "linear")
ATTACKS = (("fgsm", 2 / 255, 61), ("fgsm", 8 / 255, 20), ("pgd", 2 / 255, 48), ("pgd", 8 / 255, 1))


def perturbation(name: str, epsilon: float, norm: str = "linf", kind: str = "attack") -> Perturbation:
    iterative = name.startswith(("pgd", "apgd"))
    return Perturbation(
        id=f"{name}@{norm}-{epsilon:.6g}",
        name=name,
        kind=kind,
        norm=norm,
        epsilon=epsilon,
        steps=0 if kind == "noise" else 20 if iterative else 1,
        step_size=epsilon / 8 if iterative else None,
        restarts=2 if iterative else 1,
        version=1,
        citation="arXiv 1706.06083",
    )


def attacked(entry: Perturbation, right: int, total: int = 200, **changes: Any) -> AttackResult:
    fields = {
        "perturbation": entry,
        "robust_accuracy": estimate(right, total),
        "fooled": max(0, round(0.915 * total) - right),
        "nonfinite": 0,
        "zero_gradient": 0,
        "forwards": total * (entry.steps + 1),
        "backwards": total * entry.steps,
        "mean_linf": entry.epsilon,
        "mean_l2": entry.epsilon * 40,
    }
    return AttackResult(**{**fields, **changes})


def signs(**changes: Any) -> AttackSigns:
    usual = {"nonfinite_gradient": 0, "vanishing_gradient": 0, "fooled_later": 15, "rising_share": 0.6}
    return AttackSigns(**{**usual, **changes})


def stage(name: str, steps: int, images: int, fooled: int, classes: int = 0) -> AttackStage:
    forwards = images * (steps + 1) * max(classes, 1)
    backwards = 0 if name == "square" else forwards
    return AttackStage(
        name=name,
        steps=steps,
        classes=classes,
        images=images,
        fooled=fooled,
        forwards=forwards,
        backwards=backwards,
    )


def examined(**changes: Any) -> ModelHealth:
    """Of a model whose attacks work."""
    pair = Comparison(suspicion="more-steps", weaker="fgsm@linf-8/255", stronger="pgd@linf-8/255", missed=0, robust=40)
    fields = {
        "outputs": "logits",
        "saturated": 3,
        "at_bounds": 0,
        "repeat_difference": 0.0,
        "training_layers": (),
        "unbounded": UnboundedTrial(perturbation="apgd-ce, 50 steps, linf ball", images=40, fooled=40, by_chance=31),
        "slopes": SlopeTrial(images=64, tested=64, downhill=0, tiny=0, parts=704, smooth=690, parts_downhill=0),
        "comparisons": (pair,),
    }
    return ModelHealth(**{**fields, **changes})


def distances(**changes: Any) -> Distances:
    usual = {"found": 183, "total": 183, "quartile": 0.008, "median": 0.0121, "upper_quartile": 0.0194}
    return Distances(**{**usual, "median_low": 0.0107, "median_high": 0.0133, **changes})


def walked(names: tuple[str, ...], **changes: Any) -> GraphInfo:
    layers = tuple(
        LayerInfo(
            name=name,
            kind="learnable",
            op="linear" if "linear" in name else "conv2d",
            input_shape=(16, 32, 32),
            output_shape=(10,) if "linear" in name else (16 * (1 + place % 3), 32, 32),
            neurons=10 if "linear" in name else 16 * (1 + place % 3),
            neuron_dim=1,
            parameters=2_304 * (1 + place),
            flops=4_718_592 * (1 + place % 4),
        )
        for place, name in enumerate(names)
    )
    return GraphInfo(**{"walker": "export", "parity": 1.2e-7, "batch_independent": True, "layers": layers, **changes})


def measured(entry: str, names: tuple[str, ...], top: float, vulnerable: tuple[int, ...]) -> Sustainability:
    layers = []
    for place, name in enumerate(names):
        mean = top * (1.0 if place in vulnerable else 0.15 + 0.45 * abs(math.sin(1.3 * place)))
        mean -= 0.01 * top * place / len(names)
        layers.append(
            LayerMeasure(
                layer=name,
                mean=mean,
                std=mean / 3,
                low=mean * 0.95,
                high=mean * 1.06,
                undefined=0,
                lipschitz=4 * mean,
                amplification=1.0 + 0.1 * place,
                mvl_share=0.97 if place in vulnerable else 0.02,
            )
        )
    chosen = sorted((layers[place] for place in vulnerable), key=lambda layer: -layer.mean)
    return Sustainability(
        perturbation=entry,
        measure="relative-error",
        mu=0.45 * top,
        sigma=0.3 * top,
        eta=0.8,
        mvl=tuple(layer.layer for layer in chosen),
        highest=max(layers, key=lambda layer: layer.mean).layer,
        input_mean=0.05 * top,
        layers=tuple(layers),
    )


def effect(drop: float, samples: int = 200, **changes: Any) -> DropEffect:
    """Of a neuron that was dropped on every image, with the given fields in place of what follows from the drop."""
    lost = math.ceil(abs(drop) * samples)
    fragile = drop > 0.03
    usual = {
        "neuron_class": "fragile" if fragile else "robust" if lost else "null",
        "measured": samples,
        "losses": lost if drop > 0 else 0,
        "gains": lost if drop < 0 else 0,
        "accuracy_drop": drop,
        "low": drop - 0.02 if lost else 0.0,
        "high": drop + 0.03 if lost else 0.0,
        "margin_drop": 9 * drop,
        "estimated_margin_drop": 8 * drop,
        "p_value": 0.00002 if fragile else 0.4,
        "p_adjusted": 0.0003 if fragile else 1.0,
    }
    return DropEffect(**{**usual, **changes})


def related(quantity: str, rho: float | None, p_value: float | None, count: int = 16) -> Correlation:
    """With the targeting score."""
    return Correlation(between=(quantity, "targeting_score"), rho=rho, p_value=p_value, count=count)


def dropped(layer: str, entry: str, count: int = 16, **changes: Any) -> NeuronTable:
    neurons = []
    for index in range(count):
        drop = round(0.16 * math.exp(-((index * 7) % count) / 3) - 0.01, 3) if index % 5 else 0.0
        neurons.append(
            Neuron(
                neuron_index=index,
                clean=effect(drop),
                adversarial=effect(drop / 2, margin_drop=-drop),
                targeting_score=0.2 + 2 * max(drop, 0) + 0.03 * (index % 4),
            )
        )
    fields = {
        "layer": layer,
        "site": f"bn1 (the batch norm after {layer})",
        "drop_value": "zero",
        "perturbation": entry,
        "samples": 200,
        "neurons": tuple(neurons),
        "gini": 0.71,
        "correlations": (
            related("accuracy_drop", 0.62, 0.011, count),
            related("margin_drop", 0.21, 0.43, count),
            related("adversarial_accuracy_drop", 0.4, 0.03, count),
            related("adversarial_margin_drop", None, None, count),
        ),
    }
    return NeuronTable(**{**fields, **changes})


def build(**changes: Any) -> AuditRecord:
    """A small clean record, with the given fields in place of its own."""
    attacks = tuple(attacked(perturbation(name, epsilon), right) for name, epsilon, right in ATTACKS)
    ids = [result.perturbation.id for result in attacks]
    fields = {
        "tool_version": "0.1.0",
        "model": ModelInfo(
            name="resnet20",
            source="factory",
            architecture="tests/realdata/networks.py:resnet20",
            weights="checkpoint cifar_resnet20.th",
            weights_sha256="3f2a9c51d0e8b7a64c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7",
            checkpoint_sha256="12fca82f0ac4a1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f90",
            parameters=269_722,
            input_shape=(3, 32, 32),
            classes=10,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            normalization_source="the command line (--mean, --std)",
            notes=("legacy checkpoint, loaded with weights_only", "prefix module. removed"),
        ),
        "data": DataInfo(
            name="cifar10_test_first1000",
            source="arrays",
            interpretation="uint8 NHWC, 1000 x 32 x 32 x 3",
            selection="200 of 1,000 images, class-balanced, seed 0",
            transforms=("scaled from 0..255 to [0, 1]",),
            samples=200,
            total=1_000,
            classes=10,
            sha256="9b1c5d3e7f60718293a4b5c6d7e8f90112fca82f0ac4a1d2e3f4a5b6c7d8e9f0",
        ),
        "labels": LabelInfo(source="dataset", reason="the label set has as many classes as the model"),
        "settings": {"epsilon": [2 / 255, 8 / 255], "seed": 0, "eta": 0.8, "offline": False, "samples": None},
        "environment": Environment(
            python="3.11.9",
            platform="Linux x86_64",
            device="cpu",
            threads=2,
            precision="float32",
            deterministic=True,
            packages={"torch": "2.10.0", "timm": "1.0.20"},
        ),
        "clean": estimate(183, 200),
        "attacks": attacks,
        "graph": walked(RESNET),
        "sustainability": tuple(
            measured(id_, RESNET, top, (5, 6) if top > 0.5 else (5,))
            for id_, top in zip(ids, (0.3, 0.9, 0.35, 1.4), strict=True)
        ),
        "neurons": (dropped("conv1", ids[3]),),
        "findings": (),
        "skipped": (),
        "timing": Timing(started_at="2025-01-02T03:04:05Z", duration_s=192.4, stages_s={"load": 1.5, "attack": 150.2}),
    }
    return AuditRecord(**{**fields, **changes})
