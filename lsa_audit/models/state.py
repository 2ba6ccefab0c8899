"""Leaves no trace: whatever happens inside, the user's model and the random generators come out as they went in."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import torch
from torch import nn

from .attributes import restored
from .base import PixelModel

__all__ = ["preserved", "restored"]


@contextmanager
def preserved(module: nn.Module) -> Iterator[nn.Module]:
    """The module in eval mode with frozen parameters; everything is restored on leaving, also after an exception.

    Restored: the training flag of every submodule, `requires_grad` and `grad` of every parameter, the values of all
    buffers, the attributes of the modules (see `attributes.restored`) but for those that a PixelModel was fitted with,
    and the states of the generators of Python, NumPy and torch (CPU and all CUDA devices).

    Cost: one copy of the buffers, and of tensors that are attributes.
    """
    training = [(child, child.training) for child in module.modules()]
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in module.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    versioned = tuple(buffer for buffer, _ in buffers if not buffer.is_inference())
    versions = tuple(buffer._version for buffer in versioned)
    generators = (random.getstate(), numpy.random.get_state(), torch.get_rng_state())
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if in_use else None
    try:
        with restored(module, but=(PixelModel,)):
            evaluate(module)
            for parameter, _, _ in parameters:
                parameter.requires_grad_(False)
                parameter.grad = None
            yield module
    finally:
        for child, flag in training:
            child.training = flag
        for parameter, requires_grad, grad in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        # A backward of the caller's, begun before, must find their version as well.
        torch._C._autograd._unsafe_set_version_counter(versioned, versions)
        random.setstate(generators[0])
        numpy.random.set_state(generators[1])
        torch.set_rng_state(generators[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


def evaluate(module: nn.Module) -> None:
    """Switch a module to eval mode, also one that has no modes."""
    try:
        module.eval()
    except NotImplementedError:
        # `ExportedProgram.module()` has no modes to switch between, but for the flag.
        for child in module.modules():
            child.training = False
