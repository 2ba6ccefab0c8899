"""What the tensors of an ONNX file claim, verified before any of them is read, and external data brought in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from ...errors import ModelError, UnsafeError
from ...settings.limits import Limits
from ..archives import opened

MAX_NODES = 200_000
MAX_DEPTH = 50
HUB_FOLDER = "models--"
SAVE_AGAIN = "save it again with onnx.save"
TRUST_HINT = "do not use it unless you know who made it"
LIMIT_HINT = "raise the limits in the profile if you trust it"

BITS: dict[int, int] = {
    **dict.fromkeys((TensorProto.INT2, TensorProto.UINT2), 2),
    **dict.fromkeys((TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1), 4),
    **dict.fromkeys((TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8), 8),
    **dict.fromkeys((TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E8M0), 8),
    **dict.fromkeys((TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ), 8),
    **dict.fromkeys((TensorProto.INT16, TensorProto.UINT16, TensorProto.FLOAT16, TensorProto.BFLOAT16), 16),
    **dict.fromkeys((TensorProto.INT32, TensorProto.UINT32, TensorProto.FLOAT), 32),
    **dict.fromkeys((TensorProto.INT64, TensorProto.UINT64, TensorProto.DOUBLE, TensorProto.COMPLEX64), 64),
    TensorProto.COMPLEX128: 128,
}


def every_graph(proto: ModelProto, path: Path) -> list[GraphProto]:
    """The graph of the model and all graphs inside attributes, those of functions included.

    Raises:
        UnsafeError: graphs lie deeper inside each other than MAX_DEPTH.
    """
    bodies = (proto.graph.node, *(function.node for function in proto.functions))
    return [proto.graph, *(graph for body in bodies for graph in _inside(body, 1, path))]


def _inside(nodes: Sequence[NodeProto], depth: int, path: Path) -> Iterator[GraphProto]:
    if depth > MAX_DEPTH:
        raise UnsafeError(f"{path.name} nests graphs more than {MAX_DEPTH} deep", TRUST_HINT)
    for node in nodes:
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield graph
                yield from _inside(graph.node, depth + 1, path)


def settle(proto: ModelProto, path: Path, limits: Limits) -> int:
    """Verify all tensors of the model, then read external data into it. Returns the bytes of all tensors.

    Raises:
        UnsafeError: a tensor declares another size than it holds, all together are above the limit, or external data
            lie outside of the model's folder or of the hub cache that holds it.
        ModelError: a tensor of a type that is not supported, or external data that are missing.
    """
    graphs = every_graph(proto, path)
    if any(graph.sparse_initializer for graph in graphs):
        raise ModelError(f"{path.name} holds sparse weights", "save them as dense ones")
    attributes = [attribute for node in _nodes(proto, graphs, path) for attribute in node.attribute]
    if any(attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS) for attribute in attributes):
        raise ModelError(f"{path.name} holds sparse constants", "save them as dense ones")
    inline = chain.from_iterable(
        (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors) for attribute in attributes
    )
    tensors = [*chain.from_iterable(graph.initializer for graph in graphs), *inline]
    sizes = [_declared(tensor, path) for tensor in tensors]
    outside = []
    for tensor, size in zip(tensors, sizes, strict=True):
        if tensor.data_location == TensorProto.EXTERNAL:
            outside.append((tensor, size))
        else:
            _check_held(tensor, size, path)
    if sum(sizes) > limits.total_bytes:
        what = f"{path.name} declares {sum(sizes)} bytes of tensors, {limits.total_bytes} are allowed"
        raise UnsafeError(what, LIMIT_HINT)
    external = [(tensor, size, *_place(tensor, size, path)) for tensor, size in outside]
    for tensor, size, file, offset in external:
        with opened(file) as data:
            data.seek(offset)
            tensor.raw_data = data.read(size)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return sum(sizes)


def _nodes(proto: ModelProto, graphs: Sequence[GraphProto], path: Path) -> list[NodeProto]:
    """All nodes of a model whose functions, once put in place of their calls, leave no more than MAX_NODES."""
    nodes = [node for body in (*graphs, *proto.functions) for node in body.node]
    if len(nodes) > MAX_NODES or expanded_nodes(proto, path) > MAX_NODES:
        raise UnsafeError(f"{path.name} has more than {MAX_NODES} nodes", TRUST_HINT)
    return nodes


def expanded_nodes(proto: ModelProto, path: Path) -> int:
    """How many nodes there are once every call of a function of the file is replaced by its body.

    Raises:
        UnsafeError: functions call each other in a circle, or more than MAX_DEPTH deep.
    """
    functions = {(function.domain, function.name): function for function in proto.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Sequence[NodeProto], depth: int) -> int:
        if depth > MAX_DEPTH:
            raise UnsafeError(f"{path.name} has functions that call each other more than {MAX_DEPTH} deep", TRUST_HINT)
        total = 0
        for node in (*nodes, *(node for graph in _inside(nodes, 1, path) for node in graph.node)):
            key = (node.domain, node.op_type)
            if key in functions and key not in counts:
                counts[key] = count(functions[key].node, depth + 1)
            total += counts.get(key, 1)
        return total

    return count(proto.graph.node, 0)


def _declared(tensor: TensorProto, path: Path) -> int:
    """Bytes that the shape and the type of a tensor stand for."""
    if any(size < 0 for size in tensor.dims):
        raise UnsafeError(f"{path.name}: tensor {_name(tensor)} has a negative size", TRUST_HINT)
    if tensor.data_type == TensorProto.STRING:
        return sum(len(text) for text in tensor.string_data)
    if tensor.data_type not in BITS:
        raise ModelError(f"{path.name}: tensor {_name(tensor)} has the unknown type {tensor.data_type}", SAVE_AGAIN)
    numbers: int = math.prod(tensor.dims)
    return -(-numbers * BITS[tensor.data_type] // 8)


def _check_held(tensor: TensorProto, size: int, path: Path) -> None:
    """Whether a tensor with data of its own holds as many bytes, or numbers, as it declares."""
    if tensor.HasField("raw_data"):
        held, wanted, unit = len(tensor.raw_data), size, "bytes"
    else:
        numbers = math.prod(tensor.dims)
        bits = BITS.get(tensor.data_type, 8)
        each = 2 if "complex" in type_name(tensor.data_type) else 1
        wanted = -(-numbers * bits // 8) if bits < 8 else numbers * each
        held, unit = len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type))), "numbers"
    if held != wanted:
        what = f"{path.name}: tensor {_name(tensor)} declares {wanted} {unit} and holds {held}"
        raise UnsafeError(what, TRUST_HINT)


def _place(tensor: TensorProto, size: int, path: Path) -> tuple[Path, int]:
    """File and offset of a tensor's external data, inside the file and inside the model's own folder."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    file = _contained(said.get("location", ""), path)
    offset, length = (_whole(said.get(key, default), path) for key, default in (("offset", "0"), ("length", f"{size}")))
    if length != size:
        what = f"{path.name}: tensor {_name(tensor)} declares {size} bytes and its external data are {length}"
        raise UnsafeError(what, TRUST_HINT)
    with opened(file) as data:
        there = data.seek(0, 2)
    if offset + size > there:
        what = f"{path.name}: tensor {_name(tensor)} reaches beyond the end of {file.name}"
        raise UnsafeError(what, "copy or download both again")
    return file, offset


def _contained(location: str, path: Path) -> Path:
    """The file of external data, links followed; in the model's folder, or in the hub cache folder of the same model.

    A hub cache keeps `models--NAME/snapshots/REVISION/FILE` as links into `models--NAME/blobs`.
    """
    parts = PurePosixPath(location).parts
    if not location or location.startswith("/") or ".." in parts or any(sign in location for sign in "\\:\0"):
        raise UnsafeError(f"{path.name} asks for external data at {location[:80]!r}, outside its folder", TRUST_HINT)
    folder = path.absolute().parent
    home = folder.resolve()
    hub = next((parent for parent in (home, *home.parents) if parent.name.startswith(HUB_FOLDER)), home)
    file = (folder / location).resolve()
    if not (file.is_relative_to(home) or file.is_relative_to(hub)):
        raise UnsafeError(f"{path.name}: its external data {location[:80]} link to outside its folder", TRUST_HINT)
    if not file.exists():
        raise ModelError(f"{path.name} keeps weights in {location[:80]}, which is missing", "put it beside the model")
    return file


def _whole(text: str, path: Path) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise UnsafeError(f"{path.name}: {text[:40]!r} is no place in a file of external data", TRUST_HINT)
    return int(text)


def type_name(kind: int) -> str:
    """The name of a type of numbers, in lower case; a file may state one that does not exist."""
    return TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else f"unknown type {kind}"


def _name(tensor: TensorProto) -> str:
    return tensor.name[:80] or "without a name"
