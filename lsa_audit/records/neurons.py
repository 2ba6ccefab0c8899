"""What was found about the neurons: nodal dropout, and how its figures were come by."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Record

NeuronClass = Literal["fragile", "robust", "null"]


class Correlation(Record):
    """Spearman's rank correlation with a two-sided permutation p-value, over neurons or layers."""

    between: tuple[str, str]
    rho: float | None = Field(description="None when one side is constant, or fewer than three pairs are known")
    p_value: float | None
    count: int = Field(description="pairs")


class DropEffect(Record):
    """What the model loses on one set of images when one neuron is dropped."""

    neuron_class: NeuronClass
    measured: int = Field(description="images on which the neuron was dropped; on the others the effect is estimated")
    losses: int = Field(description="of the measured images: right with the neuron, wrong without it")
    gains: int = Field(description="of the measured images: wrong with the neuron, right without it")
    accuracy_drop: float = Field(description="with the neuron minus without; unmeasured images as expected")
    low: float = Field(description="95 % interval of the accuracy drop, wider where images were not measured")
    high: float
    margin_drop: float | None = Field(
        description="mean loss of the true-class margin; unmeasured images by the estimate; None where not finite"
    )
    estimated_margin_drop: float | None = Field(description="the first-order estimate on all images, where it was made")
    p_value: float = Field(description="exact paired McNemar test, one-sided for a loss; unmeasured images unchanged")
    p_adjusted: float = Field(description="Holm over the neurons of the layer")


class Neuron(Record):
    """One neuron, dropped."""

    neuron_index: int
    clean: DropEffect
    adversarial: DropEffect
    targeting_score: float | None


class NeuronTable(Record):
    """Nodal dropout of one layer."""

    layer: str
    site: str = Field(description="where the neurons were dropped, e.g. 'bn1 (the batch norm after conv1)'")
    drop_value: Literal["zero", "mean"]
    perturbation: str = Field(description="id of the attack whose images were used")
    samples: int
    neurons: tuple[Neuron, ...]
    gini: float | None = Field(
        description="inequality of the accuracy drops, losses only: 0 all alike, near 1 all in one; None without a loss"
    )
    correlations: tuple[Correlation, ...]

    @property
    def fragile_share(self) -> float:
        """Share of the layer's neurons that are fragile on clean images."""
        return sum(neuron.clean.neuron_class == "fragile" for neuron in self.neurons) / len(self.neurons)


class Screening(Record):
    """How many of the neurons' effects were measured, and how good the estimates of the others are."""

    budget: float | None = Field(description="whole forwards an image that dropout might cost; None: no limit")
    spent: float = Field(description="what it cost, by FLOPs, in whole forwards an image")
    exact: float = Field(description="what measuring every neuron on every image would cost")
    neurons: int
    neurons_measured: int = Field(description="on all images, clean and adversarial")
    pairs: int = Field(description="neurons times images, clean and adversarial")
    pairs_measured: int
    agreement: Correlation = Field(
        description="first-order estimate of the margin drop against the measured one, on all neurons where all were "
        "measured, else on a random sample of them"
    )
