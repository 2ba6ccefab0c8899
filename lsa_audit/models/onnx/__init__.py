"""Loads ONNX files: converted to an ordinary network where every operation has a converter, else as a black box."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from onnx import NodeProto
from torch import Tensor, nn

from ...errors import ModelError, UsageError
from ...records import Conversion
from ..assembly import Built, assemble
from ..base import Model, Preprocessing, Reference, Undecided
from ..deciding import OutputOptions
from ..parity import PARITY_TOLERANCE, RANDOM_HINT, random_file, relative_difference
from ..request import ModelRequest
from ..static_batch import FixedBatch
from .black_box import BlackBox
from .importer import Imported, import_graph
from .inputs import TakenInput, take
from .inside import compare_inside
from .operations.base import UnsupportedError
from .reading import OnnxFile, read
from .runtime import RuntimeComparison, RuntimeProgram, compare
from .steps import Network

COMPARED_IMAGES = 2
RANDOM = {
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}


def load(request: ModelRequest) -> Model:
    """The network of an ONNX file, compared with what onnxruntime makes of the file.

    A file with operations that have no converter, or whose conversion gives other logits than onnxruntime, runs in
    onnxruntime itself: `Model.differentiable` is False, and the reason is in `conversion.opaque`.

    Raises:
        UnsafeError: the file is above a limit, untrue about its sizes, or reaches out of its folder.
        ModelError: it is damaged or no classifier, or needs onnxruntime and that is missing or cannot run it.
        UsageError: its input leaves the layout open, or contradicts the request.

    Cost: reading the file, and some forwards on two images where onnxruntime is installed.
    """
    if request.checkpoint is not None:
        raise UsageError(f"{Path(request.spec).name} carries its own weights", "leave --checkpoint out")
    as_they_are = request.outputs_are == "logits"
    source = read(Path(request.spec), request.limits, request.logits, request.classes, keep_head=as_they_are)
    taken = take(source, request)
    try:
        imported = import_graph(source.proto, source.name)
    except UnsupportedError as error:
        _check_repeats(source, taken)
        return _black_box(request, source, taken, error.operations)
    network = imported.network
    if imported.batch is not None and not imported.free:
        network = FixedBatch(network, imported.batch)
    source = replace(source, batch=imported.batch)
    _check_repeats(source, taken)
    compared, reference = _compare(network, source, taken, imported)
    if not compared.close:
        return _black_box(request, source, taken, (compared.detail,))
    conversion = Conversion(
        file=source.name,
        sha256=source.sha256,
        format=source.format,
        reference=compared.reference,
        parity=compared.parity,
        parity_detail=compared.detail,
        static_batch=source.batch,
        straight_through=imported.straight_through,
    )
    built = _built(source, taken, network, conversion, imported.notes, reference)
    return assemble(request, "onnx", _with_outputs(built, source, request))


def _black_box(request: ModelRequest, source: OnnxFile, taken: TakenInput, because: tuple[str, ...]) -> Model:
    try:
        network = BlackBox(source, because)
    except ModelError as error:
        what = f"{source.name} runs in onnxruntime only, because of {', '.join(because)}, and {error.what}"
        raise ModelError(what, error.hint) from error
    conversion = Conversion(
        file=source.name,
        sha256=source.sha256,
        format=source.format,
        parity_detail=f"run by {network.runtime} itself",
        static_batch=source.batch,
        opaque=because,
    )
    built = _built(source, taken, network, conversion, (), None)
    return assemble(request, "onnx", _with_outputs(built, source, request))


def _with_outputs(built: Built, source: OnnxFile, request: ModelRequest) -> Built:
    """What the file shows of its outputs."""
    asked = OutputOptions(peeled=source.activation, maker=source.maker, choice=source.choice)
    if not source.undecided:
        return replace(built, asked=asked)
    undecided = Undecided(source.undecided, lambda name: load(replace(request, logits=name)))
    return replace(built, asked=asked, undecided=undecided, classes=None)


def _built(
    source: OnnxFile,
    taken: TakenInput,
    network: nn.Module,
    conversion: Conversion,
    notes: tuple[str, ...],
    reference: Reference | None,
) -> Built:
    provenance = {"layout": taken.origin}
    if None not in source.input_shape:
        provenance["input size"] = "the file"
    if source.classes is not None and not source.undecided:
        provenance["classes"] = "the file"
    return Built(
        network=network,
        name=source.name,
        architecture=f"ONNX graph of {len(source.proto.graph.node)} nodes",
        weights="in the file",
        metadata=Preprocessing(
            input_shape=taken.input_shape,
            layout=taken.layout,
            network_shape=taken.network_shape,
            channels=taken.channels,
        ),
        classes=source.classes and max(2, source.classes),
        notes=notes,
        provenance=provenance,
        conversion=conversion,
        reference=reference,
    )


def _check_repeats(source: OnnxFile, taken: TakenInput) -> None:
    """A file that is random cannot be compared, and its verdicts change from run to run.

    Raises:
        ModelError: it holds operations that draw numbers, and two runs of it on the same images differ.
    """
    random = sorted({node.op_type for node in _nodes(source.proto.graph.node)} & RANDOM)
    if not random or taken.sample_shape is None:
        return
    try:
        program = RuntimeProgram(source, exact=True)
        images = torch.rand(
            (source.batch or COMPARED_IMAGES, *taken.sample_shape), generator=torch.Generator().manual_seed(0)
        )
        first, second = (program(images)[source.output_name] for _ in range(2))
    except (ModelError, RuntimeError):
        return
    difference = relative_difference(second, first)
    if difference > PARITY_TOLERANCE:
        raise ModelError(random_file(source.name, difference, f"it holds {', '.join(random)}"), RANDOM_HINT)


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def _compare(
    network: nn.Module, source: OnnxFile, taken: TakenInput, imported: Imported
) -> tuple[RuntimeComparison, Reference | None]:
    """What a comparison with onnxruntime on seeded random images in [0, 1) shows; where the size of the images is open,
    the file's own program, for a comparison at the first run.

    Raises:
        UsageError: the size is open, and a comparison at the first run, by the strict tolerance, would be unfair.
        ModelError: neither the network nor onnxruntime runs.
    """
    try:
        program = RuntimeProgram(source, exact=True)
    except ModelError as error:
        return RuntimeComparison(None, None, f"not compared: {error}", close=True), None
    rounds = bool(imported.straight_through)
    if taken.sample_shape is not None:
        generator = torch.Generator().manual_seed(0)
        images = torch.rand((source.batch or COMPARED_IMAGES, *taken.sample_shape), generator=generator)
        compared = compare(network, program, images, rounds=rounds)
        return _looked_inside(compared, imported, source, images, rounds=rounds), None
    if rounds or source.half:
        what = f"{source.name} leaves the size of its images open, and rounds their values"
        raise UsageError(what, "give --input-size CxHxW, so that its conversion can be compared with the file")

    def reference(images: Tensor) -> Tensor:
        return program(images.cpu())[source.output_name].to(images.device)

    return RuntimeComparison(program.name, None, "", close=True), reference


def _looked_inside(
    compared: RuntimeComparison, imported: Imported, source: OnnxFile, images: Tensor, *, rounds: bool
) -> RuntimeComparison:
    """The comparison, with what the values inside show where the logits agree."""
    if not compared.close or compared.parity is None or not isinstance(imported.network, Network):
        return compared
    found = compare_inside(imported.network, source, images, rounds=rounds)
    if found.wrong:
        why = f"a conversion whose value of {found.wrong} differs by {found.difference:.1e} from the file's"
        return replace(compared, detail=why, close=False)
    return replace(compared, detail=f"{compared.detail}; {found.detail}")
