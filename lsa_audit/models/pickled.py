"""A checkpoint file given as the model itself: a pickled nn.Module, which is code and loads only if trusted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import ModelError
from .archives import sha256
from .assembly import Built, assemble
from .base import Model
from .checkpoint import WRAPPERS, unpickle
from .files import sniff
from .preprocessing import of_module
from .request import ModelRequest


def load(request: ModelRequest) -> Model:
    """The nn.Module in a pickle, bare or under one of the names that training scripts use.

    Raises:
        UnsafeError: the pickle calls for code, and neither --allow-code nor its SHA-256 among the trusted ones lets it
            run; or a malformed archive, or sizes that are false or above the limits.
        ModelError: the file holds weights alone, or cannot be read.
    """
    path = Path(request.spec)
    needs_arch = ModelError(
        f"{path.name} holds weights, not the network they are for",
        "name it with --arch: a timm name or FILE.py:FACTORY",
    )
    if sniff(path, request.limits) == "safetensors":
        raise needs_arch
    payload = unpickle(path, request.limits, request.trusts(sha256(path)))
    network = module_in(payload)
    if network is None:
        raise needs_arch
    built = Built(
        network=network,
        name=path.name,
        architecture=type(network).__name__,
        weights=f"pickled with the network in {path.name}",
        metadata=of_module(network),
        notes=("the network was unpickled: code that the file names was run",),
    )
    return assemble(request, "module", built)


def module_in(payload: Any) -> nn.Module | None:
    """The module that a pickle holds, bare or under one of the names that training scripts use."""
    if isinstance(payload, Mapping):
        payload = next((payload[key] for key in WRAPPERS if isinstance(payload.get(key), nn.Module)), payload)
    return payload if isinstance(payload, nn.Module) else None
