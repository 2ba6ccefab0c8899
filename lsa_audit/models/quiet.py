"""Torch traces and tries out without a word on stderr."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

NOISY = ("torch.export", "torch._export", "torch._dynamo", "torch._functorch", "torch.fx", "torch._subclasses")


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
