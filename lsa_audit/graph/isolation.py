"""Export and test runs leave nothing behind: no cached tensors or swapped lists, no warnings, no log lines."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import torch
from torch import Tensor, nn

NOISY = ("torch.export", "torch._export", "torch._dynamo", "torch._functorch", "torch.fx", "torch._subclasses")


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
def quiet() -> Iterator[None]:
    """No warnings, log lines and graph listings of torch's tracing machinery."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith(NOISY)]
    loggers = [logging.getLogger(name) for name in {*names, *NOISY}]
    disabled = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, flag in zip(loggers, disabled, strict=True):
            logger.disabled = flag


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Multi-head attention runs its ordinary operations instead of one fused one that hides its layers."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
