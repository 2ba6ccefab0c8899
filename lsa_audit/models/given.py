"""What the caller holds in memory: the network inside its wrappers, and what to say of what is no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError

WRAPPING = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
"""Classes of torch that run another module as it is, and where they hold it."""
DEEPEST = 8


def unwrapped(subject: Any) -> Any:
    """The module inside `torch.compile` and DataParallel, which computes the same, layer by layer and on one device."""
    for _ in range(DEEPEST):
        kind = type(subject)
        inner = (
            getattr(subject, WRAPPING.get(kind.__name__, ""), None) if kind.__module__.startswith("torch.") else None
        )
        if not isinstance(inner, nn.Module):
            break
        subject = inner
    return subject


def refusal(subject: Any) -> ModelError:
    """Why this is no model, and what to give instead; says nothing of its values."""
    if subject is None:
        return ModelError("no model given", "give an nn.Module, a model file or the name of a model")
    if isinstance(subject, type):
        named = subject.__name__
        hint = f"create it: {named}(...)" if issubclass(subject, nn.Module) else "give an nn.Module, a file or a name"
        return ModelError(f"the model is the class {named}, not a network", hint)
    name = type(subject).__name__
    if isinstance(subject, Mapping):
        held = any(isinstance(value, Tensor) for value in subject.values())
        hint = "load it into a network with load_state_dict, and give the network"
        return ModelError(f"the model is a {name}{' of weights' if held else ''}, not a network", hint)
    if isinstance(subject, Tensor) or name == "ndarray":
        return ModelError(f"the model is a {name}", "the model comes first: scan(model, (images, labels))")
    if isinstance(subject, torch.optim.Optimizer):
        return ModelError(f"the model is an optimizer ({name})", "give the nn.Module that it trains")
    if callable(subject):
        hint = "wrap it in an nn.Module whose forward calls it; a function that builds a network must be called first"
        return ModelError(f"the model is a {name}, not an nn.Module", hint)
    return ModelError(f"the model is a {name}", "give an nn.Module, a model file or the name of a model")
