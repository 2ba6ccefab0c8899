"""What is left of a network when weights on one side of a threshold are taken out: synaptic filters."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Estimate, Record

FilterName = Literal["high-pass", "low-pass", "pulse"]


class FilterCurve(Record):
    """One filter over its thresholds. All lists have one entry a threshold."""

    filter: FilterName
    thresholds: tuple[float, ...] = Field(description="normalised to 0..1, from the least filtering on")
    kept: tuple[float, ...] = Field(description="d: share of the weights that are left and not zero")
    clean: tuple[float, ...] = Field(description="accuracy of the filtered model, 0..1")
    adversarial: tuple[float, ...] = Field(description="its accuracy under the attack, made anew for it")
    clean_score: float | None = Field(
        description="integral of p - d; None where the accuracy at the first threshold is 0"
    )
    adversarial_score: float | None = Field(
        description="integral of q - d; None where that accuracy under attack, or the clean one, is 0"
    )
    difference_score: float | None = Field(description="integral of q - p")


class FilteredWeights(Record):
    """The three filters on the weights of one layer, or of all of them together."""

    layer: str | None = Field(description="None: all layers together")
    weights: int
    curves: tuple[FilterCurve, ...]


class Filters(Record):
    """Synaptic filters of a network."""

    perturbation: str = Field(description="id of the attack that was run on every filtered model")
    samples: int
    clean: Estimate = Field(description="accuracy of the unfiltered model on these images")
    adversarial: Estimate
    network: FilteredWeights
    layers: tuple[FilteredWeights, ...] = Field(description="in the order of execution")
