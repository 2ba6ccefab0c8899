"""What a file `MODEL.yaml` beside a model file says of it: normalisation, input size, layout, classes, architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from ..errors import ModelError
from ..plain_yaml import PlainYamlError, read_mapping
from ..records import ChannelOrder, InputLayout
from .request import ModelRequest

Number = TypeVar("Number", int, float)

KEYS = "mean, std, input_size, layout, channel_order, classes, class_names, arch"


def with_sidecar(request: ModelRequest) -> ModelRequest:
    """The request, completed by the sidecar of its model file where that exists; what the user says goes before it.

    Keys of the sidecar: `mean` and `std` (a number or a list), `input_size` ("CxHxW" or a list), `layout`,
    `channel_order`, `classes`, `class_names` (a list, in the model's order), `arch` (a timm name; a factory is code and
    only the user may name one).

    Raises:
        ModelError: the sidecar is not a plain mapping, or holds an unknown key or a wrong value.
    """
    path = Path(request.spec).with_suffix(".yaml")
    if not path.is_file():
        return request
    try:
        values = read_mapping(path)
    except PlainYamlError as error:
        raise ModelError(f"sidecar {path.name}: {error}", f"it may hold {KEYS}") from None
    found: dict[str, Any] = {}
    for key, value in values.items():
        reader = READERS.get(key)
        if reader is None:
            raise ModelError(f"sidecar {path.name}: {key} is not a setting", f"it may hold {KEYS}")
        try:
            found["input_shape" if key == "input_size" else key] = reader(value)
        except (TypeError, ValueError):
            raise ModelError(f"sidecar {path.name}: {key} {str(value)[:40]!r} is not understood", _form(key)) from None
    missing = {name: value for name, value in found.items() if getattr(request, name) is None}
    return replace(request, **missing, origins=dict.fromkeys(missing, f"the sidecar {path.name}"))


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(_plain(float, entry) for entry in (value if isinstance(value, list) else [value]))


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(_plain(int, entry) for entry in (value.split("x") if isinstance(value, str) else list(value)))


def _layout(value: Any) -> str:
    if value not in get_args(InputLayout):
        raise ValueError
    return str(value)


def _channel_order(value: Any) -> str:
    if value not in get_args(ChannelOrder):
        raise ValueError
    return str(value)


def _classes(value: Any) -> int:
    if (count := _plain(int, value)) < 2:
        raise ValueError
    return count


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ValueError
    if len(set(value)) < len(value):
        raise ValueError
    return tuple(value)


def _arch(value: Any) -> str:
    if not isinstance(value, str) or ":" in value:
        raise ValueError
    return value


def _plain(kind: type[Number], value: Any) -> Number:
    if isinstance(value, bool):
        raise TypeError
    return kind(value)


def _form(key: str) -> str:
    forms = {"input_size": "write CxHxW, e.g. 3x32x32", "layout": "write nchw, nhwc or flat", "arch": "a timm name"}
    forms["channel_order"] = "write rgb or bgr"
    forms["class_names"] = "write a list of different names, in quotes where they are numbers"
    return forms.get(key, "write a number, or a list of numbers")


READERS: dict[str, Callable[[Any], Any]] = {
    "mean": _numbers,
    "std": _numbers,
    "input_size": _shape,
    "layout": _layout,
    "channel_order": _channel_order,
    "classes": _classes,
    "class_names": _names,
    "arch": _arch,
}
