"""Whether the attack moves the neurons that a model depends on: one verdict a layer, corrected over the layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..records import Correlation, NeuronTable
from ..stats.statistics import holm

SIGNIFICANCE = 0.05
DEPENDENCE = ("accuracy_drop", "margin_drop")
"""What the model loses on clean images: how much it depends on a neuron."""

Direction = Literal["more", "less", "not settled"]


@dataclass(frozen=True)
class Targeting:
    """What the rank correlations of a layer say together.

    Attributes:
        direction: whether the attack moves a neuron the more, or the less, the more the model depends on it.
        p_adjusted: of that direction, Holm over the layers; None where the layer has no rank correlation.
    """

    direction: Direction
    p_adjusted: float | None


def targeting(tables: Sequence[NeuronTable]) -> tuple[Targeting, ...]:
    """The verdict on each layer. A direction is settled only where every known correlation of the layer has it.

    So the p-value of a layer is the largest of its correlations, and 1 where they differ in sign.
    """
    known = [dependence(table) for table in tables]
    places = [place for place, correlations in enumerate(known) if correlations]
    adjusted = dict(zip(places, holm([_p_value(known[place]) for place in places]).tolist(), strict=True))
    return tuple(_verdict(correlations, adjusted.get(place)) for place, correlations in enumerate(known))


def dependence(table: NeuronTable) -> tuple[Correlation, ...]:
    """The rank correlations of the targeting score with what dropping a neuron costs on clean images, where known."""
    return tuple(
        entry
        for entry in table.correlations
        if entry.between[0] in DEPENDENCE and entry.rho is not None and entry.p_value is not None
    )


def _p_value(correlations: tuple[Correlation, ...]) -> float:
    if len({entry.rho > 0 for entry in correlations if entry.rho is not None}) > 1:
        return 1.0
    return max(entry.p_value for entry in correlations if entry.p_value is not None)


def _verdict(correlations: tuple[Correlation, ...], p_adjusted: float | None) -> Targeting:
    if p_adjusted is None or p_adjusted >= SIGNIFICANCE:
        return Targeting("not settled", p_adjusted)
    rho = correlations[0].rho
    return Targeting("more" if rho is not None and rho > 0 else "less", p_adjusted)
