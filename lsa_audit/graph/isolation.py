"""Export and test runs leave nothing behind: no cached tensors, no swapped lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def without_caches(module: nn.Module) -> Iterator[None]:
    """Inside, attributes that are plain dictionaries of tensors are empty; use it inside `models.state.restored`."""
    for child in module.modules():
        for name, value in list(vars(child).items()):
            own = name not in {"_parameters", "_buffers", "_modules"}
            if own and type(value) is dict and value and all(isinstance(item, Tensor) for item in value.values()):
                vars(child)[name] = {}
    yield


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Multi-head attention runs its ordinary operations instead of one fused one that hides its layers."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
