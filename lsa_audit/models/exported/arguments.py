"""Reads the arguments of operations in the description of a program: one literal table of the kinds that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...errors import ModelError, UnsafeError
from .program import Device, Ref

EXPORT_HINT = "write it anew with torch.export.save"

DTYPES: dict[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    9: torch.complex32,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
}
MEMORY_FORMATS: dict[int, torch.memory_format] = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
STRIDED = 7


def read_argument(argument: Mapping[str, Any]) -> Any:
    ((kind, value),) = argument.items()
    if kind not in ARGUMENTS:
        raise UnsafeError(f"it passes an argument of the kind {kind!a} to an operation", EXPORT_HINT)
    return ARGUMENTS[kind](value)


def _none(_: Any) -> None:
    return None


def _reference(value: Mapping[str, Any]) -> Ref:
    return Ref(str(value["name"]))


def _number(value: Any) -> Any:
    """An int or a bool as it is; a float may be written as `Infinity`, `-Infinity` or `NaN`."""
    return value if isinstance(value, bool | int | float) else float(value)


def _symbol(value: Mapping[str, Any]) -> Any:
    """`{"as_name": ...}` or `{"as_int": ...}`."""
    ((kind, inner),) = value.items()
    return Ref(str(inner)) if kind == "as_name" else _number(inner)


def _layout(value: int) -> torch.layout:
    if value != STRIDED:
        raise ModelError("the program uses sparse tensors", "export the model without them")
    return torch.strided


def _device(_: Any) -> Device:
    return Device()


def _complex(value: Mapping[str, Any]) -> complex:
    return complex(_number(value["real"]), _number(value["imag"]))


def _list_of(read: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    return lambda values: [read(value) for value in values]


ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "as_none": _none,
    "as_tensor": _reference,
    "as_tensors": _list_of(_reference),
    "as_optional_tensor": read_argument,
    "as_optional_tensors": _list_of(read_argument),
    "as_nested_tensors": _list_of(_list_of(_reference)),
    "as_int": _number,
    "as_ints": _list_of(_number),
    "as_int_lists": _list_of(_list_of(_number)),
    "as_float": _number,
    "as_floats": _list_of(_number),
    "as_float_lists": _list_of(_list_of(_number)),
    "as_bool": _number,
    "as_bools": _list_of(_number),
    "as_string": str,
    "as_strings": _list_of(str),
    "as_sym_int": _symbol,
    "as_sym_ints": _list_of(_symbol),
    "as_sym_float": _symbol,
    "as_sym_floats": _list_of(_symbol),
    "as_sym_bool": _symbol,
    "as_sym_bools": _list_of(_symbol),
    "as_scalar_type": DTYPES.__getitem__,
    "as_memory_format": MEMORY_FORMATS.__getitem__,
    "as_layout": _layout,
    "as_device": _device,
    "as_complex": _complex,
}
