"""Runs a program without arithmetic, to learn how large its values become before any memory is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from ...errors import ModelError, UnsafeError
from ..quiet import quiet
from .program import Program, start


def check_sizes(program: Program, tensors: Mapping[str, Tensor], images: Tensor, limit: int) -> None:
    """Refuse a program that would make a value of more than `limit` bytes out of these images.

    Raises:
        UnsafeError: it would.
        ModelError: shapes depend on the pixels, so that the program has no fixed layers either.
        RuntimeError: an operation does not fit its operands.
    """
    with quiet(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        shapes = {name: mode.from_tensor(tensor) for name, tensor in tensors.items()}
        values = start(program, shapes, mode.from_tensor(images))
        for operation in program.operations:
            try:
                operation.run(values)
            except (DataDependentOutputException, DynamicOutputShapeException) as error:
                what = f"{operation.name} makes the program's shapes or numbers depend on the pixels"
                raise ModelError(what, "export the model without it") from error
            for output in operation.outputs:
                for name in output if isinstance(output, list) else [output]:
                    value = values.get(str(name))
                    if isinstance(value, Tensor) and value.numel() * value.element_size() > limit:
                        what = f"{operation.name} makes a tensor of {value.numel()} elements, more than allowed"
                        raise UnsafeError(what, "raise the limits in the profile if you trust it")
