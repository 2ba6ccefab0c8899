"""The last step of every loader: a network becomes a Model, with the checkpoint and the normalisation asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from ..records import Conversion, ModelSource
from .base import Model, PixelModel, Preprocessing, Reference
from .checkpoint import restore
from .preprocessing import settle
from .request import ModelRequest

RANDOM_NOTE = "the weights are random: no training stands behind the figures"


@dataclass(frozen=True)
class Built:
    """What a loader made.

    Attributes:
        network: on the CPU, with the weights that `weights` tells of.
        name, architecture, weights: for people and the record.
        metadata: the preprocessing that the weights state.
        classes: where it is known before a run.
        provenance: where input size, layout and class count came from, where the file says.
        conversion, reference: see `Model`.
    """

    network: nn.Module
    name: str
    architecture: str
    weights: str
    metadata: Preprocessing = field(default_factory=Preprocessing)
    classes: int | None = None
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    conversion: Conversion | None = None
    reference: Reference | None = None


def assemble(request: ModelRequest, source: ModelSource, built: Built) -> Model:
    """The eval-mode Model of what a loader made; a checkpoint of the request replaces the weights.

    Raises:
        ModelError, UnsafeError: the checkpoint cannot be used.
        UsageError: a wrong mean, std or input size.
    """
    weights, digest, notes = built.weights, None, built.notes
    if request.checkpoint is not None:
        weights, digest = restore(built.network, request.checkpoint, request.limits, request.trusts)
    elif request.random_weights:
        weights, notes = f"random, seed {request.seed}", (*notes, RANDOM_NOTE)
    preprocessing = settle(request, built.metadata, built.network)
    return Model(
        name=built.name,
        source=source,
        architecture=built.architecture,
        weights=weights,
        module=PixelModel(built.network, preprocessing).eval(),
        preprocessing=preprocessing,
        classes=built.classes,
        checkpoint_sha256=digest,
        notes=notes,
        provenance=_provenance(request, built),
        wanted_classes=request.classes,
        conversion=built.conversion,
        reference=built.reference,
        class_names=request.class_names or (),
    )


def _provenance(request: ModelRequest, built: Built) -> dict[str, str]:
    said = {"input size": "input_shape", "layout": "layout", "channel order": "channel_order", "classes": "classes"}
    given = {what: request.origin(name) for what, name in said.items() if getattr(request, name) is not None}
    known = {"input size": built.metadata.source} if built.metadata.input_shape else {}
    return {**known, **built.provenance, **given}
