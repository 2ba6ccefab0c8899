"""TorchScript's own operations on numbers, strings, lists and dictionaries, in Python. Literal data.

A size may be a symbol while a network is exported, so nothing here turns one into a plain number without need.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SCALAR_TYPES = (
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.float32,
    torch.float64,
    torch.complex32,
    torch.complex64,
    torch.complex128,
    torch.bool,
    torch.qint8,
    torch.quint8,
    torch.qint32,
    torch.bfloat16,
)
"""TorchScript writes a dtype as its place in this row."""

Function = Callable[..., Any]


def dtype_of(code: int | None) -> torch.dtype | None:
    """The dtype behind TorchScript's number."""
    return None if code is None else SCALAR_TYPES[code]


def _size(tensor: Tensor, dim: int | None = None) -> Any:
    return list(tensor.size()) if dim is None else tensor.size(dim)


def _length(value: Any) -> Any:
    return value.size(0) if isinstance(value, Tensor) else len(value)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, str) else torch.sym_int(_number(value))


def _real(value: Any) -> Any:
    return float(value) if isinstance(value, str) else torch.sym_float(_number(value))


def _tensor(data: Any, dtype: int | None, device: torch.device | None, requires_grad: bool = False) -> Tensor:
    return torch.tensor(data, dtype=dtype_of(dtype), device=device, requires_grad=requires_grad)


def _as_tensor(data: Any, dtype: int | None, device: torch.device | None) -> Tensor:
    return torch.as_tensor(data, dtype=dtype_of(dtype), device=device)


def _set_item(container: Any, key: Any, value: Any) -> Any:
    container[key] = value
    return container


def _appended(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def _range_length(start: int, stop: int, step: int) -> int:
    return len(range(start, stop, step))


ON_TENSORS: dict[str, Function] = {
    "size": _size,
    "dim": lambda tensor: tensor.dim(),
    "numel": lambda tensor: tensor.numel(),
    "stride": lambda tensor, dim=None: list(tensor.stride()) if dim is None else tensor.stride(dim),
    "len": _length,
    "item": _number,
    "Int": _integer,
    "IntImplicit": _integer,
    "Float": _real,
    "FloatImplicit": _real,
    "Bool": lambda value: bool(_number(value)),
    "ScalarImplicit": _number,
    "is_floating_point": lambda tensor: tensor.is_floating_point(),
    "is_complex": lambda tensor: tensor.is_complex(),
    "tensor": _tensor,
    "as_tensor": _as_tensor,
    "device": torch.device,
    "__is__": operator.is_,
    "__isnot__": operator.is_not,
    "format": lambda text, *values: text.format(*values),
    "warn": lambda *_: None,
    "is_autocast_enabled": torch.is_autocast_enabled,
    "is_grad_enabled": torch.is_grad_enabled,
    "set_grad_enabled": torch._C._set_grad_enabled,
    "is_scripting": lambda: True,
    "_get_tracing_state": lambda: None,
}
"""What is always done here, even on tensors."""

ON_VALUES: dict[str, Function] = {
    "add": lambda left, right, alpha=1: left + right if alpha == 1 else left + alpha * right,
    "add_": operator.iadd,
    "sub": lambda left, right, alpha=1: left - alpha * right,
    "rsub": lambda left, right, alpha=1: right - alpha * left,
    "mul": operator.mul,
    "div": lambda left, right, rounding_mode=None: left / right if rounding_mode is None else left // right,
    "floordiv": operator.floordiv,
    "floor_divide": operator.floordiv,
    "__round_to_zero_floordiv": lambda left, right: abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1),
    "remainder": operator.mod,
    "fmod": math.fmod,
    "mathremainder": math.remainder,
    "pow": operator.pow,
    "neg": operator.neg,
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "round": round,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "__and__": operator.and_,
    "__or__": operator.or_,
    "__xor__": operator.xor,
    "__not__": operator.not_,
    "__contains__": operator.contains,
    "__getitem__": operator.getitem,
    "_set_item": _set_item,
    "__range_length": _range_length,
    "__derive_index": lambda index, start, step: start + index * step,
    "Delete": operator.delitem,
    "append": _appended,
    "extend": lambda items, more: items.extend(more),
    "insert": lambda items, index, item: items.insert(index, item),
    "pop": lambda items, *index: items.pop(*index),
    "remove": lambda items, item: items.remove(item),
    "clear": lambda items: items.clear(),
    "reverse": lambda items: items.reverse(),
    "sort": lambda items, reverse=False: items.sort(reverse=reverse),
    "sorted": sorted,
    "count": operator.countOf,
    "index": operator.indexOf,
    "copy": lambda items: items.copy(),
    "list": list,
    "dict": dict,
    "slice": lambda items, start=None, end=None, step=1: items[start:end:step],
    "keys": lambda table: list(table.keys()),
    "values": lambda table: list(table.values()),
    "items": lambda table: list(table.items()),
    "get": lambda table, key, default=None: table.get(key, default),
    "setdefault": lambda table, key, default: table.setdefault(key, default),
    "update": lambda table, other: table.update(other),
    "str": str,
    "startswith": lambda text, start, *bounds: text.startswith(start, *bounds),
    "endswith": lambda text, end, *bounds: text.endswith(end, *bounds),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "replace": lambda text, old, new, count=-1: text.replace(old, new, count),
    "join": lambda text, parts: text.join(parts),
}
"""What is done here where no tensor is involved; on tensors it is torch's operation of that name."""


ON_NUMBERS: dict[str, Function] = {
    name: ON_VALUES[name]
    for name in (
        "add",
        "sub",
        "rsub",
        "mul",
        "floor_divide",
        "div",
        "remainder",
        "neg",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
    )
} | {
    "detach": lambda value: value,
    "clone": lambda value, *_: value,
}
"""Traced files compute with sizes as 0-dimensional tensors; these stay numbers here, so that a size stays a symbol."""

PRIMITIVES: dict[str, Function] = {
    "prim::NumToTensor": lambda value: value,
    "prim::unchecked_cast": lambda value: value,
    "prim::unchecked_unwrap_optional": lambda value: value,
    "aten::_unwrap_optional": lambda value: value,
    "prim::data": lambda tensor: tensor.detach(),
    "prim::dtype": lambda tensor: SCALAR_TYPES.index(tensor.dtype),
    "prim::device": lambda tensor: tensor.device,
    "prim::layout": lambda _: 0,
    "prim::type": lambda device: device.type,
    "prim::is_cuda": lambda tensor: tensor.is_cuda,
    "prim::is_cpu": lambda tensor: tensor.is_cpu,
    "prim::is_quantized": lambda tensor: tensor.is_quantized,
    "prim::is_sparse": lambda tensor: tensor.is_sparse,
    "prim::is_nested": lambda tensor: tensor.is_nested,
    "prim::is_mkldnn": lambda tensor: tensor.is_mkldnn,
    "prim::requires_grad": lambda tensor: tensor.requires_grad,
    "prim::itemsize": lambda tensor: tensor.itemsize,
    "prim::min": lambda *values: min(*values),
    "prim::max": lambda *values: max(*values),
    "prim::abs": abs,
    "prim::rangelist": lambda stop: list(range(stop)),
    "prim::TupleIndex": operator.getitem,
    "prim::StringIndex": operator.getitem,
    "prim::Uninitialized": lambda: None,
    "prim::tolist": lambda tensor, *_: tensor.tolist(),
}
