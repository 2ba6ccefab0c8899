"""What an array of images is: its layout and its value range. Doubt is an error with a way out, never a guess."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from ..errors import DataError
from .base import PIXEL_LEVELS, InputSpec
from .transforms import COLOUR, GRAY, wanted_channels

LAYOUTS = {"NF": 2, "NHW": 3, "NHWC": 4, "NCHW": 4}
STATE_LAYOUT = "say which with an array `layout` in the file (or the argument `layout`) that holds NHWC or NCHW"


def find_layout(shape: tuple[int, ...], spec: InputSpec, where: str, stated: str | None = None) -> str:
    """The name in `LAYOUTS` of an array of this shape.

    Args:
        shape: of the whole array.
        spec: where both readings are possible, an exact match with `spec.shape` decides.
        where: named in errors.
        stated: what the owner of the data says; checked against the number of dimensions.

    Raises:
        DataError: no layout fits, two do, or the stated one does not.
    """
    if stated is not None:
        if LAYOUTS.get(stated) != len(shape):
            raise DataError(
                f"{where}: layout {stated!r} does not fit images of shape {shape}", f"use one of {_names()}"
            )
        return stated
    if len(shape) < 2 or len(shape) > 4:
        raise DataError(f"{where}: images of shape {shape} have {len(shape)} dimensions", f"give {_names()}")
    if 0 in shape[1:]:
        raise DataError(f"{where}: images of shape {shape} are empty", "give images with at least one pixel")
    if len(shape) < 4:
        return "NF" if len(shape) == 2 else "NHW"
    allowed = {GRAY, COLOUR, wanted_channels(spec)}
    fitting = [name for name, size in (("NHWC", shape[3]), ("NCHW", shape[1])) if size in allowed]
    if len(fitting) == 2:
        turned = {"NHWC": (shape[3], shape[1], shape[2]), "NCHW": shape[1:]}
        exact = [name for name in fitting if turned[name] == spec.shape]
        fitting = exact if len(exact) == 1 else fitting
    if not fitting:
        raise DataError(f"{where}: images of shape {shape} have no side of 1 or 3 channels", f"give {_names()}")
    if len(fitting) == 2:
        raise DataError(f"{where}: images of shape {shape} can be read as NHWC and as NCHW", STATE_LAYOUT)
    return fitting[0]


def check_values(images: NDArray[Any], where: str) -> None:
    """Whether the values are pixels: uint8 0..255 or float 0..1. Cost: one or two passes over the array.

    Raises:
        DataError: another type, NaN, a value outside the range, or bytes that look like 0 and 1.
    """
    kind = images.dtype.kind
    if kind not in "fu" or (kind == "u" and images.dtype.itemsize > 1):
        hint = "give uint8 (0..255) or float (0..1)"
        raise DataError(f"{where}: images are of type {images.dtype}", hint)
    if images.size == 0:
        raise DataError(f"{where}: the data holds no images", "give at least one image")
    low, high = images.min(), images.max()
    if kind == "u":
        if high <= 1:
            hint = "if they mean 0.0 and 1.0, save them as float; bytes are divided by 255"
            raise DataError(f"{where}: uint8 images whose largest value is {high}", hint)
        return
    if numpy.isnan(low):
        raise DataError(f"{where}: images hold NaN", "remove those images or repair them")
    if low < 0 or high > 1:
        hint = "undo the normalisation: pixels go in as 0..1 and --mean/--std belong to the model"
        if low >= 0 and high <= PIXEL_LEVELS:
            hint = "divide by 255, or save as uint8"
        raise DataError(f"{where}: float images range from {low:.9g} to {high:.9g}, not within [0, 1]", hint)


def to_channels_first(images: NDArray[Any], layout: str) -> NDArray[Any]:
    """[N, C, H, W] or [N, F], contiguous, uint8 or float32."""
    if layout == "NHW":
        images = images[:, None]
    elif layout == "NHWC":
        images = images.transpose(0, 3, 1, 2)
    return numpy.ascontiguousarray(images, dtype=numpy.uint8 if images.dtype.kind == "u" else numpy.float32)


def interpret(images: NDArray[Any], layout: str) -> str:
    """In words, e.g. `uint8 NHWC, 1000 x 32 x 32 x 3`."""
    return f"{images.dtype} {layout}, {' x '.join(str(size) for size in images.shape)}"


def _names() -> str:
    return ", ".join(LAYOUTS)
