"""Records about neurons: every layer of a network under a budget, with patching and filters beside it."""

from __future__ import annotations

import math

from lsa_audit.findings import judged
from lsa_audit.records import (
    AuditRecord,
    Correlation,
    FilterCurve,
    FilteredWeights,
    Filters,
    Neuron,
    NeuronTable,
    PatchedGroup,
    PatchedLayer,
    Patching,
    Screening,
)
from lsa_audit.stats.statistics import estimate

from .builders import build, dropped, effect, measured, related, walked

SAMPLES = 200
LAYERS = ("conv1", *(f"layer{stage}.{block}.conv{n}" for stage in (1, 2, 3) for block in (0, 1) for n in (1, 2)))
LAYERS += ("layer4.0.conv1", "layer4.0.conv2", "linear")
NEURONS = (16, 16, 16, 16, 16, 32, 32, 32, 32, 64, 64, 64, 64, 128, 128, 10)


def screened(layer: str, perturbation: str, count: int, depth: int) -> NeuronTable:
    """The deeper the layer, the fewer of its neurons matter; the first and the last are measured on every image."""
    neurons = []
    for index in range(count):
        drop = round((0.2 / (1 + depth)) * math.exp(-((index * 5) % count) / 4) - 0.012 * (index % 7 == 0), 4)
        seen = 0 if index % 3 == 1 and drop < 0.03 else 64 if index % 3 == 2 else SAMPLES
        whole = layer in (LAYERS[0], LAYERS[-1])
        neurons.append(
            Neuron(
                neuron_index=index,
                clean=effect(drop, measured=SAMPLES if whole else seen),
                adversarial=effect(drop / 3, measured=SAMPLES if whole else min(seen, 64)),
                targeting_score=0.3 + 0.05 * (index % 9) + (drop if depth % 2 else -drop),
            )
        )
    rho = 0.8 - 0.1 * depth
    p_value = 0.0001 if abs(rho) > 0.35 else 0.2
    figures = {"accuracy_drop": p_value, "margin_drop": p_value / 2, "adversarial_accuracy_drop": 0.3}
    correlations = tuple(related(quantity, rho, value, count) for quantity, value in figures.items())
    return dropped(layer, perturbation, neurons=tuple(neurons), gini=0.4 + 0.03 * depth, correlations=correlations)


def screening(tables: tuple[NeuronTable, ...], **changes: object) -> Screening:
    """What the tables imply, and an agreement of 0.91."""
    neurons = [neuron for table in tables for neuron in table.neurons]
    effects = [each for neuron in neurons for each in (neuron.clean, neuron.adversarial)]
    fields = {
        "budget": 30.0,
        "spent": 29.7,
        "exact": 411.0,
        "neurons": len(neurons),
        "neurons_measured": sum(n.clean.measured == n.adversarial.measured == SAMPLES for n in neurons),
        "pairs": SAMPLES * len(effects),
        "pairs_measured": sum(each.measured for each in effects),
        "agreement": Correlation(between=("estimated", "measured"), rho=0.91, p_value=0.0001, count=64),
    }
    return Screening(**{**fields, **changes})


def patching(perturbation: str, names: tuple[str, ...] = LAYERS) -> Patching:
    """Everything returns at the last layer, by construction; the layer before it returns the most of the others."""
    lost = 182
    layers = tuple(
        PatchedLayer(layer=name, returned=estimate(10 * place, lost), whole=False) for place, name in enumerate(names)
    )
    group = PatchedGroup(group="fragile", neurons=3, returned=estimate(40, lost))
    last = PatchedLayer(layer=names[-1], returned=estimate(lost, lost), whole=True, groups=(group,))
    correlation = Correlation(between=("returned", "relative_error"), rho=0.44, p_value=0.09, count=15)
    return Patching(perturbation=perturbation, lost=lost, layers=(*layers[:-1], last), correlation=correlation)


def filters(perturbation: str, layer: str = LAYERS[0]) -> Filters:
    """Three curves over the network, and those of one layer."""
    thresholds = tuple(place / 24 for place in range(25))
    falling = tuple(1 - value for value in thresholds)
    curves = tuple(
        FilterCurve(
            filter=name,
            thresholds=thresholds,
            kept=falling,
            clean=tuple(0.915 * value for value in falling),
            adversarial=tuple(0.1 * value**2 for value in falling),
            clean_score=-0.021,
            adversarial_score=-0.17 if name != "pulse" else None,
            difference_score=-0.149,
        )
        for name in ("high-pass", "low-pass", "pulse")
    )
    return Filters(
        perturbation=perturbation,
        samples=SAMPLES,
        clean=estimate(183, SAMPLES),
        adversarial=estimate(20, SAMPLES),
        network=FilteredWeights(layer=None, weights=270_000, curves=curves),
        layers=(FilteredWeights(layer=layer, weights=432, curves=curves),),
    )


def every_layer() -> AuditRecord:
    """All layers of a network, estimated in part; the tables are not in the order of execution."""
    base = build()
    perturbation = base.attacks[3].perturbation.id
    tables = tuple(
        screened(name, perturbation, count, depth)
        for depth, (name, count) in enumerate(zip(LAYERS, NEURONS, strict=True))
    )
    record = build(
        graph=walked(LAYERS),
        sustainability=(measured(perturbation, LAYERS, 1.4, (12, 14)),),
        neurons=tables[::-1],
        screening=screening(tables),
        patching=patching(perturbation),
        filters=filters(perturbation),
    )
    return judged(record)
