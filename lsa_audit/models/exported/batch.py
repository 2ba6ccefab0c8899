"""Opens the batch of a program that was exported for one batch size.

Such a program holds its batch size as a number wherever it reshapes. Which of the numbers mean the batch is found by
running it twice in step: as it is on one group of images, and, opened so far, on two groups. Where the first group lies
in the operand of a reshape tells where the batch must lie in its result. Nothing of this is believed: the caller
compares the opened program with the original one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..static_batch import open_sizes
from .program import Program, ProgramOperation, Ref, Times, Values, start

SIZES = {"reshape": "shape", "expand": "size", "expand_copy": "size", "repeat": "repeats"}
"""Operations that may hold the batch size, and the argument that does."""

CREATIONS = frozenset({"zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty"})


def opened(program: Program, tensors: Mapping[str, Tensor], images: Tensor, constants: int | None) -> Program | None:
    """The program with an open batch; None where that cannot be done.

    Args:
        images: two groups, each of the batch size that the program was exported for.
        constants: which of the sizes of a constant that equal that batch size is the batch (0: the first); None: none.
    """
    size = program.input.example[0]
    with torch.no_grad():
        single, double = start(program, tensors, images[:size]), start(program, tensors, images)
        operations = []
        for operation in program.operations:
            before = dict(single)
            operation.run(single)
            try:
                if constants is not None and operation.name in CREATIONS:
                    changed = _per_image(operation, size, constants)
                else:
                    changed = _opened(operation, before, single, double, size)
                changed.run(double)
            except Exception:  # noqa: BLE001 - whatever an operation says about sizes that do not fit
                return None
            operations.append(changed)
    return replace(program, operations=tuple(operations))


def _opened(operation: ProgramOperation, before: Values, after: Values, double: Values, size: int) -> ProgramOperation:
    """The operation with the batch size of its arguments left open; the same where there is none."""
    source = operation.named.get("self")
    name = SIZES.get(operation.name)
    if name is None or not isinstance(source, Ref):
        return operation
    small, large = before[source.name], double[source.name]
    result = after[str(operation.outputs[0])]
    if small.shape == large.shape:
        return _repeated(operation, name, small, result, size)
    if operation.name == "repeat":
        return operation
    sizes = open_sizes(small, large, tuple(result.shape), size, expands=operation.name != "reshape")
    return operation if sizes is None else operation.with_named({name: sizes})


def _per_image(operation: ProgramOperation, size: int, which: int) -> ProgramOperation:
    """A constant such as the mask of a group or the first state of an LSTM, made as large as the batch is."""
    sizes = list(operation.named["size"])
    positions = [position for position, entry in enumerate(sizes) if entry == size]
    if which < len(positions):
        sizes[positions[which]] = Times(1)
    return operation.with_named({"size": sizes})


def _repeated(operation: ProgramOperation, name: str, small: Tensor, result: Tensor, size: int) -> ProgramOperation:
    """A constant such as a class token, repeated for each image: the count in front is the batch."""
    sizes = list(operation.named[name])
    leading = result.dim() - small.dim()
    single = leading > 0 or (small.dim() > 0 and small.shape[0] == 1)
    if operation.name == "reshape" or not single or not sizes or result.shape[0] != size:
        return operation
    return operation.with_named({name: [Times(1), *sizes[1:]]})
