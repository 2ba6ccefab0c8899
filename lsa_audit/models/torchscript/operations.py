"""What one node of a TorchScript graph calls: a function on plain values and tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ..checked import CHECKED
from .language import ON_NUMBERS, ON_TENSORS, ON_VALUES, PRIMITIVES, SCALAR_TYPES, Function
from .opening import Opening
from .outer import attention, convolution, encoder_layer, plain_convolution

RESHAPES = ("reshape", "view", "_unsafe_view", "expand")
WIDENED = (torch.float16, torch.bfloat16, torch.float64)
FLOAT32 = SCALAR_TYPES.index(torch.float32)
NUMBERS = (int, float, bool, torch.SymInt, torch.SymFloat)


@dataclass
class ExecutionState:
    """Where a network runs: a file that was written for one device names it in its graphs.

    Attributes:
        device: of the images of the forward that is under way.
        opening: for a program of one batch size: what it reshapes to on others.
        widens: whether everything is computed in float32, in the place of float16, bfloat16 and float64.
        group_size: the only batch size that the programs take; None: any.
        loops: whether such groups run one after the other, as vmap has no rule for an operation.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    widens: bool = False
    opening: Opening | None = None
    group_size: int | None = None
    loops: bool = False


def function_of(node: torch._C.Node, place: ExecutionState) -> Function:
    """The function that a node without blocks calls, on the values of its inputs in their order.

    Raises:
        ModelError: an operation that this torch does not have, or that has no counterpart here.
    """
    kind = node.kind()
    if kind in PRIMITIVES:
        return PRIMITIVES[kind]
    schema = node.schema()
    if "(" not in schema or schema.startswith("("):
        raise ModelError(f"the operation {kind} has no counterpart outside TorchScript", "export the model as ONNX")
    namespace, _, name = kind.partition("::")
    if namespace == "aten":
        if name in ON_TENSORS:
            return ON_TENSORS[name]
        if name in ON_VALUES and "Tensor" not in schema:
            function = ON_VALUES[name]
            # Where Python keeps an integer, as in 2**3 and round(2), TorchScript may not.
            return (lambda *values: torch.sym_float(function(*values))) if schema.endswith("-> float") else function
        if name in OVERRIDES:
            return OVERRIDES[name](place)
    return _torch_function(kind, schema, node, place)


def _torch_function(kind: str, schema: str, node: torch._C.Node, place: ExecutionState) -> Function:
    namespace, _, name = kind.partition("::")
    overload = schema.partition("(")[0].partition("::")[2].partition(".")[2] or "default"
    try:
        operation = getattr(getattr(getattr(torch.ops, namespace), name), overload)
    except AttributeError:
        what = f"the operation {kind} ({overload}) is not in PyTorch {torch.__version__}"
        raise ModelError(what, "install the library that brings it, or another version of PyTorch") from None
    arguments = operation._schema.arguments
    tensors = tuple(index for index, argument in enumerate(arguments) if str(argument.type) == "Tensor")
    devices = tuple(index for index, argument in enumerate(arguments) if "Device" in str(argument.type))
    types = tuple(index for index, argument in enumerate(arguments) if argument.name == "dtype")
    checked = CHECKED.get(f"{name}.{overload}", operation) if namespace == "aten" else operation
    call = _by_position(checked, arguments, [_is_default(*pair) for pair in zip(node.inputs(), arguments, strict=True)])
    return _Operation(name, call, tensors, devices, types, place)


@dataclass(frozen=True)
class _Operation:
    """One of torch's operations; a number that stands for a tensor is taken, and the file's device is replaced."""

    name: str
    call: Function
    tensors: tuple[int, ...]
    devices: tuple[int, ...]
    types: tuple[int, ...]
    place: ExecutionState

    def __call__(self, *values: Any) -> Any:
        if self.devices and any(values[index] is not None for index in self.devices):
            values = tuple(
                self.place.device if index in self.devices and value is not None else value
                for index, value in enumerate(values)
            )
        if self.place.widens and self.types:
            values = tuple(_widened(value) if index in self.types else value for index, value in enumerate(values))
        if any(isinstance(values[index], NUMBERS) for index in self.tensors):
            return self._on_numbers(values)
        if self.place.opening is not None and self.name in RESHAPES:
            values = (values[0], self.place.opening.sizes(self.name, values[0], values[1]), *values[2:])
            result = self.call(*values)
            self.place.opening.seen(values[0], result)
            return result
        return self.call(*values)

    def _on_numbers(self, values: tuple[Any, ...]) -> Any:
        if all(isinstance(values[index], NUMBERS) for index in self.tensors):
            if self.name == "to" and isinstance(values[1], int) and not isinstance(values[1], bool):
                return _cast(values[0], values[1])
            if self.name in ON_NUMBERS:
                return ON_NUMBERS[self.name](*values)
        return self.call(
            *(
                as_tensor(value, self.place) if index in self.tensors and isinstance(value, NUMBERS) else value
                for index, value in enumerate(values)
            )
        )


def _widened(dtype: Any) -> Any:
    """The number of float32 for that of another float type; TorchScript writes types as numbers."""
    is_type = isinstance(dtype, int) and not isinstance(dtype, bool) and 0 <= dtype < len(SCALAR_TYPES)
    return FLOAT32 if is_type and SCALAR_TYPES[dtype] in WIDENED else dtype


def as_tensor(value: Any, place: ExecutionState) -> Tensor:
    """The 0-dimensional tensor that a number stands for."""
    real = isinstance(value, float | torch.SymFloat)
    dtype = torch.bool if isinstance(value, bool) else torch.float32 if real else torch.int64
    return torch.scalar_tensor(value, dtype=dtype, device=place.device)


def _cast(value: Any, dtype: int) -> Any:
    return torch.sym_float(value) if SCALAR_TYPES[dtype].is_floating_point else torch.sym_int(value)


def _is_default(value: torch._C.Value, argument: torch.Argument) -> bool:
    node = value.node()
    if not argument.kwarg_only or not argument.has_default_value() or node.kind() != "prim::Constant":
        return False
    constant = value.toIValue()
    return not isinstance(constant, Tensor) and bool(constant == argument.default_value)


def _by_position(operation: Function, arguments: Sequence[torch.Argument], default: Sequence[bool]) -> Function:
    """Torch takes some arguments by keyword only; those at their default are left out."""
    ordinary = sum(not argument.kwarg_only for argument in arguments)
    named = [
        (index, argument.name) for index, argument in enumerate(arguments) if argument.kwarg_only and not default[index]
    ]
    if not named:
        return operation if ordinary == len(arguments) else lambda *values: operation(*values[:ordinary])
    return lambda *values: operation(*values[:ordinary], **{name: values[index] for index, name in named})


def _to_place(place: ExecutionState) -> Function:
    return lambda tensor: tensor.to(place.device)


OVERRIDES: dict[str, Callable[[ExecutionState], Function]] = {
    "_convolution": lambda _: convolution,
    "_convolution_mode": lambda _: plain_convolution,
    "_native_multi_head_attention": lambda _: attention,
    "_transformer_encoder_layer_fwd": lambda _: encoder_layer,
    "cpu": _to_place,
    "cuda": _to_place,
}
"""Operations of torch in whose place others are called here."""
