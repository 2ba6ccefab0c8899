"""Networks that many tests walk are traced once: `torch.export` takes up to a second a time."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

Export = Callable[[nn.Module, Tensor], fx.GraphModule]

# Their forward hangs on nothing but their tensors and plain attributes.
STEADY = (
    *("DigitsCnn", "MoonsMlp", "Small", "Mlp", "Residual"),
    *("Transformer", "Windows", "SequenceFirst", "SharedWeights"),
)
HOMES = ("torch.nn.", "lsa_audit.models.", "tests.graph.networks", "tests.measurements.networks")


def once(export: Export) -> Export:
    """The same, where a network with the same tensors is given a copy of an earlier graph around its own tensors."""
    kept: dict[str, tuple[fx.GraphModule, dict[str, Tensor]]] = {}

    def exported(module: nn.Module, images: Tensor) -> fx.GraphModule:
        key = _key(module, images)
        if key is None:
            return export(module, images)
        own = _tensors(module)
        if key not in kept:
            made = export(module, images)
            kept[key] = copy.deepcopy(made, {id(value): value for value in own.values()}), own
            return made
        graph_module, theirs = kept[key]
        return copy.deepcopy(graph_module, {id(value): own[name] for name, value in theirs.items()})

    return exported


def remember_operations() -> None:
    """Let torch look through its thousands of operations once, not at every export, until one is registered."""
    place, name = torch.export.exported_program, "_collect_all_valid_cia_ops"
    search = getattr(place, name, None)
    if search is None:
        return
    kept: dict[int, Any] = {}

    def found() -> Any:
        count = len(torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd"))
        if count not in kept:
            kept[count] = search()
        return kept[count]

    setattr(place, name, found)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict([*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)])


def _key(module: nn.Module, images: Tensor) -> str | None:
    if type(getattr(module, "network", None)).__name__ not in STEADY:
        return None
    parts = [repr((images.shape, images.dtype, images.device, torch.is_grad_enabled(), torch.is_inference(images)))]
    for name, child in module.named_modules(remove_duplicate=False):
        if not type(child).__module__.startswith(HOMES) or child._forward_hooks or child._forward_pre_hooks:
            return None
        plain = {key: value for key, value in vars(child).items() if not key.startswith("_")}
        parts.append(f"{name} {type(child)} {plain}")
    if any(" at 0x" in part for part in parts):
        return None
    for name, value in _tensors(module).items():
        content = hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        parts.append(f"{name} {value.shape} {value.dtype} {value.requires_grad} {type(value)} {content}")
    return "\n".join(parts)
