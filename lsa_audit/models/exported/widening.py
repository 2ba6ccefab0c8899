"""A program in half or double precision as one in float32, in which the audit computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .program import Program

WIDENED = (torch.float16, torch.bfloat16, torch.float64)


def other_types(program: Program, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The float types other than float32 of the program's input and parameters, sorted."""
    kinds = {tensors[name].dtype for name in program.parameters if name in tensors}
    names = {str(kind).removeprefix("torch.") for kind in kinds if kind in WIDENED}
    taken = getattr(torch, program.input.dtype, None)
    return tuple(sorted(names | ({program.input.dtype} if taken in WIDENED else set())))


def widened(program: Program, tensors: Mapping[str, Tensor]) -> tuple[Program, dict[str, Tensor]]:
    """The program and its tensors with float32 in the place of every other float type."""
    operations = tuple(
        replace(operation, arguments=_widened(operation.arguments), named=_widened(dict(operation.named)))
        for operation in program.operations
    )
    taken = replace(program.input, dtype="float32")
    held = {name: tensor.float() if tensor.dtype in WIDENED else tensor for name, tensor in tensors.items()}
    shared: dict[Any, Tensor] = {}
    for name, tensor in tensors.items():
        # Weights that were one stay one.
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        held[name] = shared.setdefault(place, held[name]) if tensor.numel() else held[name]
    return replace(program, input=taken, operations=operations), held


def _widened(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return torch.float32 if value in WIDENED else value
    if isinstance(value, dict):
        return {name: _widened(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_widened(entry) for entry in value)
    return value
