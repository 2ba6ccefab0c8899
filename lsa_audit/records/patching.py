"""What returns when clean activations are put back into the forward of attacked images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Estimate, Record
from .neurons import Correlation

PatchedNeurons = Literal["fragile", "most-targeted", "least-targeted", "random"]


class PatchedGroup(Record):
    """Some neurons of a layer, put back alone."""

    group: PatchedNeurons
    neurons: int
    returned: Estimate


class PatchedLayer(Record):
    """One layer, put back."""

    layer: str
    returned: Estimate = Field(description="share of the lost images that are right again")
    whole: bool = Field(description="the patched forward is the clean one, as every path leads through the layer")
    groups: tuple[PatchedGroup, ...] = ()


class Patching(Record):
    """Activation patching under one attack."""

    perturbation: str = Field(description="id of the attack")
    lost: int = Field(description="images right when clean and wrong when attacked; only these are patched")
    layers: tuple[PatchedLayer, ...] = Field(description="in the order of execution")
    correlation: Correlation = Field(
        description="share that returns against the layer's relative error, over the layers that are not `whole`"
    )
