"""Names and describes the layers of a model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from ..errors import ModelError, first_line
from ..models.base import Model, Opaque, PixelModel
from ..models.parity import relative_difference
from ..models.state import preserved, restored
from ..records import GraphCheck, Skipped
from .base import Graph, Layer, UnevenRowsError, check_rows
from .batch_layout import TOLERANCE, probe_images
from .export import export
from .exported import describe
from .fidelity import Fidelity, NoGradientError, compare
from .hooked import describe_hooked
from .opaque import describe_opaque
from .taps import Visitor, run, run_graph

DETAIL_LENGTH = 200
ROWS_IMAGES = 64
"""Enough to tell whether every image reaches every layer."""

NO_BACKWARD = "backward-fails"
"""Reason of a `Skipped`: the model's own gradient by the images cannot be taken."""


def walk(model: Model, images: Tensor) -> Graph:
    """The layers of a model, verified on real images: which they are, how the batch lies in them, whether images mix.

    The model is exported as one functional graph. Where that fails, or the graph's logits, layers or gradient by the
    images are not the model's own, module hooks serve instead and `info.skipped` says why. Layer names are the
    network's own. A layer whose value cannot be split into images becomes a `Skipped`. The parameters of all layers and
    `unassigned_parameters` are the model's own count. A model that only its own runtime can run is described by what
    that runtime shows.

    Args:
        model: its module is run in eval mode, and comes out as it went in.
        images: [N >= 3, ...] float32 in [0, 1], on the device of the module.

    Raises:
        ValueError: fewer than three images.
        ModelError: the number of logits hangs on the batch size.
        Exception: whatever the model's own forward raises.

    Cost: one trace, about eleven forwards on two to N images, and two backwards on three.
    """
    if len(images) < 3:
        raise ValueError(f"walking takes three images, not {len(images)}")
    module = model.module
    with preserved(module), restored(module):
        if isinstance(module.network, Opaque):
            return describe_opaque(module, module.network, probe_images(images))
        references = _logits(module, images)
        probes = probe_images(images)
        try:
            graph_module = export(module, images[:3])
            parity = _parity(graph_module, references)
        except Exception as error:  # noqa: BLE001 - export runs the user's code and may raise anything
            return describe_hooked(module, probes, [_unseen(_in_one_line(error))])
        if not parity <= TOLERANCE:
            detail = f"the exported graph's logits differ by {parity:.1e} of the largest, more than {TOLERANCE:.0e}"
            wrong = Skipped(what="the exported graph", reason="export-parity", detail=detail)
            return describe_hooked(module, probes, [wrong, _unseen(detail)])
        graph = describe(graph_module, module, probes, parity)
        try:
            found = compare(graph_module, module, {layer.site: layer.info.name for layer in graph.layers}, probes)
        except NoGradientError as error:
            failed = Skipped(what="gradients", reason=NO_BACKWARD, detail=_shortened(str(error)))
            return _with(graph, (), failed)
        reason = _why_not(found)
        if reason is None:
            return _with(graph, found.checks)
        return _with(describe_hooked(module, probes, [reason, _unseen(reason.detail)]), found.checks)


def without_uneven(graph: Graph, images: Tensor) -> Graph:
    """The graph without the layers that not every image reaches alike, as the experts of a mixture; each is skipped.

    A model that only its own runtime can run stays as it is.

    Args:
        images: [N, ...], a whole batch: three images may all take one way.

    Cost: one forward.
    """
    if not graph.layers or (isinstance(graph.module, PixelModel) and isinstance(graph.module.network, Opaque)):
        return graph
    even: set[str] = set()

    def visitor(layer: Layer) -> Visitor:
        def visit(value: Tensor) -> None:
            with suppress(UnevenRowsError):
                check_rows(layer, value, len(images))
                even.add(layer.info.name)

        return visit

    with torch.no_grad():
        run(graph, images, {layer.info.name: visitor(layer) for layer in graph.layers})
    uneven = [layer for layer in graph.layers if layer.info.name not in even]
    if not uneven:
        return graph
    detail = "not every image reaches it: how many rows its value has depends on what the images show"
    skipped = [Skipped(what=f"layer {layer.info.name}", reason="rows-by-content", detail=detail) for layer in uneven]
    layers = tuple(layer for layer in graph.layers if layer.info.name in even)
    info = graph.info.model_copy(
        update={
            "layers": tuple(layer.info for layer in layers),
            "skipped": (*graph.info.skipped, *skipped),
        }
    )
    unassigned = graph.unassigned_parameters + sum(layer.info.parameters for layer in uneven)
    return replace(graph, info=info, layers=layers, unassigned_parameters=unassigned)


def no_backward(graph: Graph) -> str:
    """Why the model's own gradient by the images cannot be taken; empty where it can."""
    return next((entry.detail for entry in graph.info.skipped if entry.reason == NO_BACKWARD), "")


def _with(graph: Graph, checks: tuple[GraphCheck, ...], *skipped: Skipped) -> Graph:
    info = graph.info.model_copy(update={"checks": checks, "skipped": (*graph.info.skipped, *skipped)})
    return replace(graph, info=info)


def _why_not(found: Fidelity) -> Skipped | None:
    """Why the exported graph is not used; None where it is the model."""
    if found.wrong_layer:
        detail = f"{found.wrong_layer} has another value in the exported graph than in the model"
        return Skipped(what="the exported graph", reason="graph-values", detail=detail)
    if found.lost_gradient:
        lost = (
            "the model gives no gradient by the images (no_grad or detach in its forward), the exported graph does"
            if found.no_gradient
            else "the gradient by the images is another in the exported graph than in the model: a custom backward, a "
            "gradient hook or a region under no_grad is lost in it"
        )
        return Skipped(what="the exported graph", reason="graph-gradients", detail=lost)
    return None


def _logits(module: nn.Module, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The model's own logits on all images, and on three and two: a graph may be specialised to one batch size."""
    with torch.no_grad():
        sizes = dict.fromkeys((len(images), 3, 2))
        found = [(images[:count], module(images[:count])) for count in sizes]
    widths = {len(batch): logits.shape[1] for batch, logits in found}
    if len(set(widths.values())) > 1:
        told = " and ".join(f"{width} for {count} images" for count, width in widths.items())
        raise ModelError(f"the number of logits changes with the batch: {told}", "it must be the number of classes")
    return found


def _parity(graph_module: fx.GraphModule, references: list[tuple[Tensor, Tensor]]) -> float:
    with torch.no_grad():
        return max(relative_difference(run_graph(graph_module, batch, {}), logits) for batch, logits in references)


def _unseen(why: str) -> Skipped:
    detail = f"only modules are seen, not additions, activations and products between them: {why}"
    return Skipped(what="functional operations", reason="module-hooks", detail=detail)


def _in_one_line(error: Exception) -> str:
    return _shortened(f"{type(error).__name__}: {' '.join(first_line(error).split())}")


def _shortened(text: str) -> str:
    return text if len(text) <= DETAIL_LENGTH else f"{text[: DETAIL_LENGTH - 3]}..."
