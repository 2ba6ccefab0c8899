"""Changes in the initialisers of an ONNX file, its graph left alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from onnx import ModelProto, TensorProto, numpy_helper
from torch import Tensor, nn

from ...errors import ModelError
from ..archives import opened
from ..onnx.reading import PROTOBUF_BYTES
from ..onnx.steps import Network
from ..onnx.tensors import settle, type_name
from ..request import ModelRequest
from .edits import Edit, write

FLOATS: Mapping[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.DOUBLE: torch.float64,
}
NUMBERS = ("float_data", "int32_data", "double_data")
"""Fields that may hold the values of such tensors instead of `raw_data`."""


def pack(edit: Edit, request: ModelRequest, network: nn.Module) -> bytes:
    """The file with the changes; external data, which lie in files of their own, are taken in.

    Raises:
        ModelError: the file cannot hold a change, or is too large for one file.
        UnsafeError: as loading it.
    """
    path = Path(request.spec)
    proto = ModelProto()
    with opened(path) as file:
        proto.ParseFromString(file.read())
    if settle(proto, path, request.limits) >= PROTOBUF_BYTES:
        raise ModelError(f"{edit.file} and its external data do not fit into one file of 2 GiB", "make it smaller")
    protos = _tensors(proto)
    places = {own: name for own, name in _names(network).items() if name in protos}
    changed = {name for own, name in places.items() if own in edit.changed}
    for name in changed:
        if protos[name].data_type not in FLOATS:
            kind = type_name(protos[name].data_type)
            raise ModelError(f"{edit.file} holds {name} quantised, as {kind}", "give the model in float32")
    values = {name: _value(protos[name]) for name in places.values() if protos[name].data_type in FLOATS}
    write(edit, {own: values[name] for own, name in places.items() if name in values})
    for name in changed:
        _replace(protos[name], values[name])
    return bytes(proto.SerializeToString())


def _names(network: nn.Module) -> dict[str, str]:
    """Names in the file by names in the network."""
    inner = ((path, module) for path, module in network.named_modules() if isinstance(module, Network))
    path, graph = next(inner)
    return {f"{path}.{name}".lstrip("."): label for name, label in graph.stored_names.items()}


def _tensors(proto: ModelProto) -> dict[str, TensorProto]:
    """The tensors of the main graph: its initialisers, and those that nodes hold."""
    constants = {
        node.output[0]: attribute.t
        for node in proto.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    return constants | {tensor.name: tensor for tensor in proto.graph.initializer}


def _value(tensor: TensorProto) -> Tensor:
    # By way of float64, which holds every value of the other types: NumPy has no bfloat16.
    values = torch.from_numpy(numpy_helper.to_array(tensor).astype("float64"))
    return values.to(FLOATS[tensor.data_type])


def _replace(tensor: TensorProto, value: Tensor) -> None:
    for field in NUMBERS:
        tensor.ClearField(field)
    tensor.raw_data = value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
