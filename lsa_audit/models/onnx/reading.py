"""Reads an ONNX file that may be hostile or broken, and says what it takes and returns. Nothing of it runs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, checker, inliner, shape_inference

from ...errors import ModelError, UnsafeError
from ...settings.limits import Limits
from ..archives import opened
from ..calls import Activation
from ..outputs import ONLY, Choice, OutputCandidate
from ..protobuf import has_more_parts
from .head import cut_head, take_output
from .order import in_order
from .tensors import BITS, LIMIT_HINT, every_graph, settle, type_name

OLDEST_OPSET = 7
PROTOBUF_BYTES = 2**31 - 2**20
FLOATS: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.DOUBLE: "float64"}
HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
DAMAGED_HINT = "copy or download it again"
EXPORT_HINT = "export it again with torch.onnx.export"


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that has passed every check.

    Attributes:
        name: of the file.
        sha256: of the file, without external data.
        proto: with external data read in, functions put in place of their calls, and the logits as the only output.
        input_name, output_name: of the images and of the logits.
        dtype: of the images: float32, float16 or float64.
        half: whether the file computes in half precision, whatever it takes.
        batch: the only batch size that the file takes; None if any.
        input_shape: of one image; None for sizes that the file leaves open.
        classes: K where the file states it.
        opset: of the operations that ONNX itself defines.
        producer: what wrote the file, or empty.
        compact: whether the whole fits into one message of 2 GiB, as onnxruntime wants it.
        activation: what stood behind the logits in the file and is left out.
        maker: the operation that makes them; `linear` where it has no bounds.
        choice, undecided: the output that was taken; all of them, where only the data can tell which it is.
    """

    name: str
    sha256: str
    proto: ModelProto
    input_name: str
    output_name: str
    dtype: str
    half: bool
    batch: int | None
    input_shape: tuple[int | None, ...]
    classes: int | None
    opset: int
    producer: str
    compact: bool
    activation: Activation | None = None
    maker: str = ""
    choice: Choice = ONLY
    undecided: tuple[OutputCandidate, ...] = ()

    @property
    def format(self) -> str:
        """In words, e.g. `ONNX, opset 17, written by pytorch 2.1`."""
        return f"ONNX, opset {self.opset}" + (f", written by {self.producer}" if self.producer else "")


MAX_PARTS = 1_000_000
"""Messages, texts and blocks of data: a large network has some ten thousand, and each takes memory."""


def read(
    path: Path, limits: Limits, wanted: str | None = None, classes: int | None = None, *, keep_head: bool = False
) -> OnnxFile:
    """The file, once everything that it claims has been verified.

    Args:
        wanted: name or index of the output that holds the logits.
        classes: as the user says.
        keep_head: leave a last sigmoid or softmax on.

    Raises:
        UnsafeError: above a limit, sizes that are not true, or external data outside the model's folder.
        ModelError: missing, damaged, broken, or not a classifier of one batch of images.
        UsageError: there is no such output.
    """
    proto, digest = _parse(path, limits)
    opset = _opset(proto, path)
    compact = settle(proto, path, limits) < PROTOBUF_BYTES
    images = _image_input(proto, path)
    taken = take_output(proto, path.name, wanted, classes)
    del proto.graph.output[:]
    proto.graph.output.append(taken.value)
    _sort(proto, path)
    if compact:
        _check(proto, path)
        if proto.functions:
            proto = inliner.inline_local_functions(proto)
        _check_values(proto, path, limits)
    elif proto.functions:
        raise ModelError(f"{path.name} has functions and more than 2 GiB of weights", "inline the functions")
    cut = cut_head(proto, keep_head)
    batch, *shape = _dims(images)
    return OnnxFile(
        name=path.name,
        sha256=digest,
        proto=proto,
        input_name=images.name,
        output_name=proto.graph.output[0].name,
        dtype=FLOATS[images.type.tensor_type.elem_type],
        half=any(tensor.data_type in HALVES for tensor in proto.graph.initializer),
        batch=batch,
        input_shape=tuple(shape),
        classes=taken.classes,
        opset=opset,
        producer=" ".join(f"{proto.producer_name} {proto.producer_version}".split())[:60],
        compact=compact,
        activation="argmax" if taken.argmax else cut.activation,
        maker=cut.maker,
        choice=taken.choice,
        undecided=taken.undecided,
    )


def _parse(path: Path, limits: Limits) -> tuple[ModelProto, str]:
    with opened(path) as file:
        size = file.seek(0, 2)
        if size > limits.total_bytes:
            raise UnsafeError(f"{path.name} has {size} bytes, {limits.total_bytes} are allowed", LIMIT_HINT)
        file.seek(0)
        content = file.read()
    if not content:
        raise ModelError(f"{path.name} is empty", DAMAGED_HINT)
    if has_more_parts(content, ModelProto.DESCRIPTOR, MAX_PARTS):
        raise UnsafeError(f"{path.name} has more than {MAX_PARTS} parts", LIMIT_HINT)
    proto = ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError:
        raise ModelError(f"{path.name} is truncated, or not an ONNX file", DAMAGED_HINT) from None
    # What the file says of its own training is none of the network.
    proto.ClearField("training_info")
    if not proto.graph.node:
        raise ModelError(f"{path.name} is truncated, or not an ONNX file: it holds no graph", DAMAGED_HINT)
    if not all(isinstance(text, str) for text in _texts(proto, path)):
        raise ModelError(f"{path.name} is damaged: it holds names that are no text", DAMAGED_HINT)
    return proto, hashlib.sha256(content).hexdigest()


def _texts(proto: ModelProto, path: Path) -> Iterator[object]:
    """Every name in a model; protobuf hands out bytes where one is not UTF-8."""
    yield from (proto.producer_name, proto.producer_version, *(entry.domain for entry in proto.opset_import))
    graphs = every_graph(proto, path)
    for function in proto.functions:
        yield from (function.name, function.domain, *function.input, *function.output, *function.attribute)
    for graph in graphs:
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield from (value.name, *(dim.dim_param for dim in value.type.tensor_type.shape.dim))
        for tensor in graph.initializer:
            yield from (tensor.name, *(text for entry in tensor.external_data for text in (entry.key, entry.value)))
    for body in (*graphs, *proto.functions):
        for node in body.node:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
            for attribute in node.attribute:
                yield from (attribute.name, attribute.t.name, attribute.ref_attr_name)
                yield from (text for entry in attribute.t.external_data for text in (entry.key, entry.value))


def _opset(proto: ModelProto, path: Path) -> int:
    """Raises ModelError for a version that this onnx package does not know."""
    opset: int | None = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), None)
    newest = onnx.defs.onnx_opset_version()
    if opset is None:
        raise ModelError(f"{path.name} names no opset", EXPORT_HINT)
    if opset > newest:
        raise ModelError(f"{path.name} has opset {opset}, this onnx knows up to {newest}", "pip install -U onnx")
    if opset < OLDEST_OPSET:
        hint = "raise it with onnx.version_converter.convert_version"
        raise ModelError(f"{path.name} has opset {opset}, older than {OLDEST_OPSET}", hint)
    return opset


def _image_input(proto: ModelProto, path: Path) -> ValueInfoProto:
    """The one input that is no weight.

    Raises:
        ModelError: there is none or there are several, or it is no batch of floats of fixed rank.
    """
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs: list[ValueInfoProto] = [value for value in proto.graph.input if value.name not in weights]
    if not inputs:
        raise ModelError(f"{path.name} has no input", EXPORT_HINT)
    if len(inputs) > 1:
        names = ", ".join(value.name for value in inputs[:4])
        raise ModelError(f"{path.name} has {len(inputs)} inputs ({names})", "a classifier takes images alone")
    kind = inputs[0].type.tensor_type
    if not inputs[0].type.HasField("tensor_type") or not kind.HasField("shape"):
        what = f"{path.name}: input {inputs[0].name} has no fixed number of dimensions"
        raise ModelError(what, "export it with a fixed rank, e.g. [N, 3, 224, 224]")
    if kind.elem_type not in FLOATS:
        what = f"{path.name}: input {inputs[0].name} is {type_name(kind.elem_type)}"
        raise ModelError(what, f"images go in as one of {', '.join(FLOATS.values())}: move the cast out of the model")
    if len(kind.shape.dim) < 2:
        raise ModelError(f"{path.name}: input {inputs[0].name} has no batch dimension", "export it as [N, ...]")
    return inputs[0]


def _sort(proto: ModelProto, path: Path) -> None:
    """Bring the nodes into the order of execution.

    Raises:
        ModelError: some of them wait for each other.
    """
    ordered = GraphProto(node=in_order(proto.graph))
    stuck = len(proto.graph.node) - len(ordered.node)
    if stuck:
        raise ModelError(f"{path.name} is a cyclic graph: {stuck} nodes wait for each other", EXPORT_HINT)
    del proto.graph.node[:]
    proto.graph.node.extend(ordered.node)


def _check(proto: ModelProto, path: Path) -> None:
    """Raises ModelError for a graph that contradicts the ONNX specification, e.g. one that reads a missing value."""
    try:
        checker.check_model(proto)
    except (checker.ValidationError, ValueError) as error:
        reason = " ".join(str(error).split("\n\n", maxsplit=1)[0].split())[:200]
        raise ModelError(f"{path.name} is not a valid ONNX graph: {reason}", EXPORT_HINT) from None


def _check_values(proto: ModelProto, path: Path, limits: Limits) -> None:
    """Raises UnsafeError where the value of a node is already for one image larger than the limit for all tensors."""
    try:
        graph = shape_inference.infer_shapes(proto, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, RuntimeError):
        # Shapes that contradict each other are found by whoever runs the graph.
        return
    for value in (*graph.value_info, *graph.output):
        size = math.prod(dim or 1 for dim in _dims(value)) * BITS.get(value.type.tensor_type.elem_type, 8) // 8
        if size > limits.total_bytes:
            what = f"{path.name}: value {value.name[:80]} takes {size} bytes, {limits.total_bytes} are allowed"
            raise UnsafeError(what, LIMIT_HINT)


def _dims(value: ValueInfoProto) -> Sequence[int | None]:
    """Sizes as stated; None where one is open (a name, nothing, or the 0 and -1 of old exporters)."""
    return [dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim]
