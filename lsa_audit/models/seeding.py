"""Builds networks from a seed without moving the generators of whoever called."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The generators of Python, NumPy and torch start from `seed` inside and are as before afterwards.

    CUDA generators take part only where CUDA is already in use, so that loading a model does not start it.
    """
    states = (random.getstate(), numpy.random.get_state())
    cuda = bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if cuda else []):
            random.seed(seed)
            numpy.random.seed(seed % 2**32)
            torch.default_generator.manual_seed(seed)
            if cuda:
                torch.cuda.manual_seed_all(seed)
            yield
    finally:
        random.setstate(states[0])
        numpy.random.set_state(states[1])
