"""Writes a model whose weights have been changed in memory: the file that it came from, with the new weights in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from ...errors import ModelError
from .. import is_named, load
from ..archives import sha256
from ..base import Model, Opaque
from ..files import FileKind, sniff
from ..hub_config import with_config, without_folder
from ..request import ModelRequest
from ..sidecar import with_sidecar
from . import checkpoint, exported, named, safetensors, torchscript
from .edits import Edit, state_of

Writer = Callable[[Edit, ModelRequest], bytes]


@dataclass(frozen=True)
class Packed:
    """A model file that is not written yet.

    Attributes:
        content: of the file.
        suffix: of its name, with the dot; that of the original file, `.safetensors` for a network with a name.
        sidecar: what `MODEL.yaml` beside it must say; None where nothing must be said.
    """

    content: bytes
    suffix: str
    sidecar: str | None


def pack(model: Model, request: ModelRequest) -> Packed:
    """The model's file with its weights as they are now, in the format of the original.

    Weights that have not changed keep their bytes, as does everything else in the file; nothing of it is run but what
    loading runs. Changed ones are written in the type that the file has for them, rounded where that is shorter. A
    network with a name (built-in, timm, factory) and no checkpoint becomes a .safetensors file of its state.

    Args:
        model: as `load(request)` returned it, with other values in its parameters and buffers, on any device.

    Raises:
        ModelError: the format cannot hold a change; names the weight.
        UnsafeError: the original file has changed, and may not be loaded any more.

    Cost: loading the original once more, TorchScript twice; a copy of the file in memory.
    """
    network = model.module.network
    asked = without_folder(request)
    request = _as_file(asked)
    if is_named(request.spec):
        return Packed(named.pack(network, model.name), named.SUFFIX, _sidecar(request, request.spec))
    path = Path(request.spec)
    if isinstance(network, Opaque):
        what = f"{path.name} runs in onnxruntime only ({', '.join(network.because)}), so its weights cannot be changed"
        raise ModelError(what, "give the float32 model that it was made from")
    # A checkpoint that was loaded over the file is itself a change of the file.
    before = load(replace(request, checkpoint=None)).module.network
    parameters = tuple(name for name, _ in before.named_parameters())
    edit = Edit(path.name, state_of(before), state_of(network), parameters)
    complete = with_config(with_sidecar(request) if request.spec == asked.spec else request, path)
    kind = sniff(path, request.limits)
    if kind == "sharded":
        whole = replace(complete, weights=None)
        return Packed(named.pack(network, model.name), named.SUFFIX, _sidecar(whole, whole.arch))
    content = _content(kind, edit, complete, before)
    return Packed(content, path.suffix, _sidecar(complete, complete.arch))


def reload_request(request: ModelRequest, path: Path) -> ModelRequest:
    """What loads a file that `pack` made as the same model.

    Args:
        request: the one for the original.
        path: of the new file, its sidecar beside it.
    """
    request = _as_file(without_folder(request))
    if is_named(request.spec):
        return replace(request, spec=str(path), arch=request.spec, random_weights=False)
    trusted = request.trusted
    if sniff(Path(request.spec), request.limits) == "sharded":
        request = replace(request, weights=None)
    if request.trusts(sha256(Path(request.spec))):
        # The same code, and other numbers.
        trusted |= {sha256(path)}
    return replace(request, spec=str(path), checkpoint=None, trusted=trusted)


def _as_file(request: ModelRequest) -> ModelRequest:
    """A checkpoint that is loaded over a name is the file that the model comes from."""
    if request.checkpoint is None or not is_named(request.spec):
        return request
    return replace(request, spec=str(request.checkpoint), arch=request.spec, checkpoint=None)


def _content(kind: FileKind, edit: Edit, request: ModelRequest, network: nn.Module) -> bytes:
    if kind == "onnx":
        # The onnx package takes a good part of a second to import.
        from . import onnx

        return onnx.pack(edit, request, network)
    return WRITERS[kind](edit, request)


WRITERS: dict[FileKind, Writer] = {
    "torchscript": torchscript.pack,
    "exported": exported.pack,
    "checkpoint": checkpoint.pack,
    "safetensors": safetensors.pack,
}
"""Weights in several files become one: `sharded` has no writer of its own."""


def _sidecar(request: ModelRequest, arch: str | None) -> str | None:
    """What the request says of a model and its file does not; a factory is code, which only the user may name."""
    named = arch if arch and ":" not in arch else None
    said: dict[str, Any] = {
        "mean": request.mean and list(request.mean),
        "std": request.std and list(request.std),
        "input_size": request.input_shape and list(request.input_shape),
        "crop": request.crop_share,
        "crop_mode": request.crop_mode,
        "interpolation": request.interpolation,
        "layout": request.layout,
        "channel_order": request.channel_order,
        "classes": request.classes,
        "logits": request.logits,
        "outputs_are": request.outputs_are,
        "label_offset": request.label_offset,
        "class_names": request.class_names and list(request.class_names),
        "weights": request.weights,
        "arch": named,
        "model_args": _plain(request.arguments) if named and request.arguments else None,
    }
    values = {key: value for key, value in said.items() if value is not None}
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=False) if values else None


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """YAML has lists, no tuples."""

    def plain(value: Any) -> Any:
        return [plain(entry) for entry in value] if isinstance(value, tuple) else value

    return {key: plain(value) for key, value in arguments.items()}
