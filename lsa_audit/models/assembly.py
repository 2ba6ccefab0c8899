"""The last step of every loader: a network becomes a Model, with the checkpoint and the normalisation asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from ..errors import UsageError
from ..records import Conversion, ModelSource
from .base import Model, PixelModel, Preprocessing, Reference, Undecided
from .deciding import NOTHING_KNOWN, OutputOptions
from .parity import PARITY_TOLERANCE
from .preprocessing import settle
from .request import ModelRequest
from .restoring import restore
from .state import evaluate

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
        conversion, reference, tolerance, finish, undecided: see `Model`.
        asked: what the loader knows of the outputs; the request's own wishes are added.
        arguments: names of what the network can be built with.
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
    asked: OutputOptions = NOTHING_KNOWN
    undecided: Undecided | None = None
    tolerance: float = PARITY_TOLERANCE
    finish: Callable[[Model, Tensor], Model] | None = None
    arguments: tuple[str, ...] = ()


def assemble(request: ModelRequest, source: ModelSource, built: Built) -> Model:
    """The eval-mode Model of what a loader made; a checkpoint of the request replaces the weights.

    Raises:
        ModelError, UnsafeError: the checkpoint cannot be used.
        UsageError: a wrong mean, std or input size, or a choice among weights that are none.
    """
    weights, digest, notes = built.weights, None, built.notes
    if request.checkpoint is not None:
        asked = (request.limits, request.trusts, request.weights)
        restored = restore(built.network, request.checkpoint, *asked, arguments=built.arguments)
        weights, digest, notes = restored.weights, restored.sha256, (*notes, *restored.notes)
    elif request.weights is not None:
        raise UsageError(f"--weights {request.weights} goes with a checkpoint", "leave it out")
    elif request.random_weights:
        weights, notes = f"random, seed {request.seed}", (*notes, RANDOM_NOTE)
    preprocessing = settle(request, built.metadata, built.network)
    module = PixelModel(built.network, preprocessing)
    evaluate(module)
    return Model(
        name=built.name,
        source=source,
        architecture=built.architecture,
        weights=weights,
        module=module,
        preprocessing=preprocessing,
        classes=built.classes,
        checkpoint_sha256=digest,
        notes=notes,
        provenance=_provenance(request, built),
        wanted_classes=request.classes,
        conversion=built.conversion,
        reference=built.reference,
        asked=replace(built.asked, logits=request.logits, outputs_are=request.outputs_are),
        undecided=built.undecided,
        label_offset=request.label_offset,
        class_names=request.class_names or (),
        tolerance=built.tolerance,
        finish=built.finish,
    )


def _provenance(request: ModelRequest, built: Built) -> dict[str, str]:
    said = {
        "input size": "input_shape",
        "layout": "layout",
        "channel order": "channel_order",
        "classes": "classes",
        "architecture": "arch",
        "crop": "crop_share",
        "interpolation": "interpolation",
    }
    given = {what: request.origin(name) for what, name in said.items() if getattr(request, name) is not None}
    if request.arch is not None and "arch" not in request.origins:
        # What the user names as the model needs no origin.
        given.pop("architecture")
    known = {"input size": built.metadata.source} if built.metadata.input_shape else {}
    return {**known, **built.provenance, **given}
