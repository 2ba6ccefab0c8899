"""From the verdicts without each neuron to the table of a layer: classes, drops, scores and how they go together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph.base import Layer
from ..records import Correlation, DropEffect, EffectColumns, NeuronClass, NeuronColumns, NeuronTable
from ..stats.statistics import Floats, finite, gini, holm, mcnemar_loss, paired_difference, rank_correlations
from .dropout import LayerDropout
from .racing import SIGNIFICANCE, Race
from .survey import DropValue, Singles, Survey

NOTICEABLE = 0.5
"""Verdicts that change: fewer expected ones than this count as none."""


def neuron_table(
    layer: Layer, dropout: LayerDropout, survey: Survey, perturbation: str, drop_value: DropValue, seed: int
) -> NeuronTable:
    """The table of one layer.

    Args:
        dropout: has run.
        perturbation: id of the attack that made the adversarial images.
        seed: of the permutation tests.

    Source: Pravin et al., arXiv 2201.12347 (fragile, robust and null neurons; adversarial targeting).
    Differs from the source: classes by an exact paired McNemar test with Holm's correction over the layer (the source
    has no test), intervals, and the margin beside the accuracy.
    """
    name, samples = layer.info.name, survey.samples
    halves = (slice(None, samples), slice(samples, None))
    clean, adversarial = (
        _effects(race, survey.margin[half], dropout.margin[:, half], survey.changes(name)[:, half])
        for race, half in zip(dropout.races, halves, strict=True)
    )
    scores = [finite(score) for score in survey.targeting_scores(name)]
    neurons = NeuronColumns(
        neuron_index=tuple(range(len(scores))),
        targeting_score=tuple(scores),
        clean=EffectColumns.of(clean),
        adversarial=EffectColumns.of(adversarial),
    )
    return NeuronTable(
        layer=name,
        site=layer.drop_label,
        drop_value=drop_value,
        perturbation=perturbation,
        samples=samples,
        neurons=neurons,
        gini=gini([max(0.0, effect.accuracy_drop) for effect in clean]),
        correlations=_correlations(clean, adversarial, scores, seed),
    )


def _effects(race: Race, whole: Floats, margin: Singles, changes: Singles) -> list[DropEffect]:
    """Of every neuron on N images: whole [N] and margin [U, N] with and without it, changes [U, N] as estimated."""
    standing, samples = race.standing(), len(whole)
    p_values = mcnemar_loss(standing.losses, standing.gains)
    adjusted = holm(p_values)
    with np.errstate(invalid="ignore"):
        margin_drops = np.where(race.measured, whole - margin, -changes).mean(1)
        estimated = -changes.mean(1, dtype=np.float64)
    expected = standing.expected_losses + standing.expected_gains
    effects = []
    for index, (losses, gains) in enumerate(zip(standing.losses.tolist(), standing.gains.tolist(), strict=True)):
        _, low, _ = paired_difference(losses, int(standing.most_gains[index]), samples)
        _, _, high = paired_difference(int(standing.most_losses[index]), gains, samples)
        p_adjusted = float(adjusted[index])
        effects.append(
            DropEffect(
                neuron_class=neuron_class(losses + gains + float(expected[index]), p_adjusted),
                measured=int(race.measured[index].sum()),
                losses=losses,
                gains=gains,
                accuracy_drop=float(standing.drop[index]) / samples,
                low=low,
                high=high,
                margin_drop=finite(margin_drops[index]),
                estimated_margin_drop=finite(estimated[index]),
                p_value=float(p_values[index]),
                p_adjusted=p_adjusted,
            )
        )
    return effects


def neuron_class(changed: float, p_adjusted: float) -> NeuronClass:
    """fragile: a significant loss; null: no verdict changed, nor is one expected to; robust: the rest."""
    if p_adjusted < SIGNIFICANCE:
        return "fragile"
    return "null" if changed < NOTICEABLE else "robust"


def _correlations(
    clean: Sequence[DropEffect], adversarial: Sequence[DropEffect], scores: Sequence[float | None], seed: int
) -> tuple[Correlation, ...]:
    sides = {"": clean, "adversarial_": adversarial}
    drops = [(side, drop) for side in sides for drop in ("accuracy_drop", "margin_drop")]
    return rank_correlations(
        [(f"{side}{drop}", "targeting_score") for side, drop in drops],
        [[getattr(effect, drop) for effect in sides[side]] for side, drop in drops],
        scores,
        seed,
    )
