"""What a file `MODEL.yaml` beside a model file says of it: normalisation, input size, layout, classes, outputs ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from ..errors import ModelError
from ..records import ChannelOrder, InputLayout, Interpolation
from ..settings.plain_yaml import PlainYamlError, read_mapping
from .request import ModelRequest

Number = TypeVar("Number", int, float)

KEYS = (
    "mean, std, input_size, crop, crop_mode, interpolation, layout, channel_order, classes, class_names, "
    "logits, outputs_are, label_offset, weights, arch, model_args"
)
FIELDS = {"input_size": "input_shape", "crop": "crop_share", "model_args": "arguments"}
CROP_MODES = ("center", "squash")
"""Timm's: resize the short side, then crop the centre; or resize both sides, then crop."""
LONGEST_LIST = 64
LARGEST = 2**16
MOST_OFFSET = 1000


def with_sidecar(request: ModelRequest) -> ModelRequest:
    """The request, completed by the sidecar of its model file where that exists; what the user says goes before it.

    Keys of the sidecar: `mean` and `std` (a number or a list), `input_size` ("CxHxW" or a list), `crop` (the share of a
    photo that is kept), `interpolation`, `layout`, `channel_order`, `classes`, `class_names` (a list, in the model's
    order), `logits` (name or index of an output), `outputs_are` (logits or probabilities), `label_offset`, `weights`
    (ema, raw or a name), `arch` (a timm name; a factory is code and only the user may name one), `model_args` (plain
    values for timm).

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
            found[FIELDS.get(key, key)] = reader(value)
        except (TypeError, ValueError):
            raise ModelError(f"sidecar {path.name}: {key} {str(value)[:40]!r} is not understood", _form(key)) from None
    return completed(request, found, f"the sidecar {path.name}")


def completed(request: ModelRequest, found: Mapping[str, Any], origin: str) -> ModelRequest:
    """The request with what a description of the weights adds to it; what it says already stays.

    Args:
        found: fields of a request and their values; `arguments` are for timm, never for a factory.
        origin: of the values, in words.
    """
    arguments = dict(request.arguments)
    if ":" not in (request.arch or ""):
        arguments = {**found.get("arguments", {}), **arguments}
    missing = {name: value for name, value in found.items() if name != "arguments" and getattr(request, name) is None}
    origins = {**request.origins, **dict.fromkeys(missing, origin)}
    return replace(request, **missing, arguments=arguments, origins=origins)


def plain_arguments(values: Any) -> dict[str, Any]:
    """Arguments for timm as a stranger's file gives them: names, and plain values of a moderate size.

    Raises:
        TypeError, ValueError: anything else.
    """
    if not isinstance(values, dict) or not all(isinstance(key, str) and key.isidentifier() for key in values):
        raise TypeError
    return {key: _plain_value(value) for key, value in values.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) > LONGEST_LIST:
            raise ValueError
        return tuple(_plain_value(entry) for entry in value)
    if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) <= LARGEST:
        raise ValueError
    if value is not None and not isinstance(value, str | int | float | bool):
        raise TypeError
    return value


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


def share(value: Any) -> float:
    """A share of an image, in (0, 1].

    Raises:
        TypeError, ValueError: it is none.
    """
    if not 0 < (found := _plain(float, value)) <= 1:
        raise ValueError
    return found


def interpolation(value: Any) -> str:
    """The name of an interpolation.

    Raises:
        ValueError: it is none.
    """
    if value not in get_args(Interpolation):
        raise ValueError
    return str(value)


def crop_mode(value: Any) -> str:
    """The name of a crop mode.

    Raises:
        ValueError: it is none.
    """
    if value not in CROP_MODES:
        raise ValueError
    return str(value)


def _weights(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _classes(value: Any) -> int:
    if (count := _plain(int, value)) < 2:
        raise ValueError
    return count


def _output(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise TypeError
    return str(value)


def _outputs_are(value: Any) -> str:
    if value not in ("logits", "probabilities"):
        raise ValueError
    return str(value)


def _offset(value: Any) -> int:
    if type(value) is not int or abs(value) > MOST_OFFSET:
        raise TypeError
    return value


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
    forms = {
        "input_size": "write CxHxW, e.g. 3x32x32",
        "crop": "write a number above 0 and up to 1, e.g. 0.875",
        "crop_mode": f"write {', '.join(CROP_MODES)}",
        "interpolation": f"write one of {', '.join(get_args(Interpolation))}",
        "layout": "write nchw, nhwc or flat",
        "channel_order": "write rgb or bgr",
        "class_names": "write a list of different names, in quotes where they are numbers",
        "logits": "write the name or index of an output",
        "outputs_are": "write logits or probabilities",
        "label_offset": "write a whole number, e.g. 1",
        "weights": "write ema, raw, or the name of a set of weights in the file",
        "arch": "a timm name",
        "model_args": "write names and plain values, e.g. {pad_type: same}",
    }
    return forms.get(key, "write a number, or a list of numbers")


READERS: dict[str, Callable[[Any], Any]] = {
    "mean": _numbers,
    "std": _numbers,
    "input_size": _shape,
    "crop": share,
    "crop_mode": crop_mode,
    "interpolation": interpolation,
    "layout": _layout,
    "channel_order": _channel_order,
    "classes": _classes,
    "logits": _output,
    "outputs_are": _outputs_are,
    "label_offset": _offset,
    "class_names": _names,
    "weights": _weights,
    "arch": _arch,
    "model_args": plain_arguments,
}
