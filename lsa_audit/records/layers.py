"""What was found about the layers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Record, Skipped

LayerKind = Literal["learnable", "norm", "attention", "activation", "add", "pool", "block"]


class LayerInfo(Record):
    """One layer as the walker found it, in the order of execution."""

    name: str
    kind: LayerKind
    op: str
    input_shape: tuple[int, ...] | None = Field(description="without the batch dimension")
    output_shape: tuple[int, ...] = Field(description="without the batch dimension")
    neurons: int | None
    neuron_dim: int | None = Field(description="dimension of the output (batch included) along which the neurons lie")
    parameters: int
    flops: int = Field(description="per image; two for each multiply-add of convolutions and matrix products, else 0")


class GraphCheck(Record):
    """One comparison of what was walked with the model as it runs by itself."""

    what: str = Field(description="layer values, input gradient, parameter gradients, batch statistics ...")
    against: str = Field(description="what it was compared with")
    compared: int = Field(description="how many values were compared")
    of: int = Field(description="how many there are")
    difference: float | None = Field(description="the largest, relative; None where nothing could be compared")
    passed: bool = Field(description="whether it is no more than rounding; otherwise another route was taken")


class GraphInfo(Record):
    """How the model was walked, and whether that reproduces it."""

    walker: Literal["export", "hooks", "runtime"]
    specialized: bool = Field(
        default=False, description="a branch that depends on values was followed as the sample images took it"
    )
    parity: float = Field(
        description="largest difference of logits between the walked and the original model, relative"
    )
    batch_independent: bool | None = Field(description="whether an image's logits are free of its batch mates")
    layers: tuple[LayerInfo, ...]
    skipped: tuple[Skipped, ...] = ()
    checks: tuple[GraphCheck, ...] = Field(
        default=(), description="the exported graph against the model; empty in records of older versions"
    )


class LayerMeasure(Record):
    """How far one layer moved under one perturbation, over the images."""

    layer: str
    mean: float | None
    std: float | None
    low: float | None = Field(description="95 % bootstrap interval of the mean")
    high: float | None
    undefined: int = Field(description="images for which the measure does not exist, e.g. an all-zero clean activation")
    lipschitz: float | None = Field(description="mean of ||d phi|| / ||d x||")
    amplification: float | None = Field(
        description="mean relative error over that of the layer before (first: the input)"
    )
    mvl_share: float | None = Field(description="share of bootstrap resamples in which the layer is in the list")


class Sustainability(Record):
    """Layer sustainability under one perturbation: the pooled statistics and the most vulnerable layers (MVL)."""

    perturbation: str = Field(description="id of the perturbation")
    measure: str
    mu: float | None
    sigma: float | None
    eta: float
    mvl: tuple[str, ...] = Field(description="most vulnerable first; empty when no layer is above the threshold")
    highest: str | None = Field(description="the layer with the highest mean, in the list or not")
    input_mean: float | None = Field(description="the same measure on the input itself")
    layers: tuple[LayerMeasure, ...]
