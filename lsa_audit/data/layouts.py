"""What an array of images is: its layout and its value range. Doubt is an error with a way out, never a guess."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from ..errors import DataError
from ..units import PIXEL_LEVELS
from .base import InputSpec
from .transforms import COLOUR, GRAY, wanted_channels

LAYOUTS = {"NF": 2, "NHW": 3, "NHWC": 4, "NCHW": 4}
HALF_LEVELS = 127
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


def check_values(images: NDArray[Any], where: str) -> bool:
    """Whether the values count 0..255 (uint8, or whole numbers of another type) and not 0..1 (float).

    Whole numbers of another type than uint8 are taken for 0..255 only where one of them is above `HALF_LEVELS`: with
    less, white may be anything (scikit-learn's digits go up to 16). Cost: two or three passes over the array.

    Raises:
        DataError: another type, NaN, a value outside the range, or bytes that look like 0 and 1.
    """
    kind = images.dtype.kind
    if kind not in "fui":
        hint = "give uint8 (0..255) or float (0..1)"
        raise DataError(f"{where}: images are of type {images.dtype}", hint)
    if images.size == 0:
        raise DataError(f"{where}: the data holds no images", "give at least one image")
    low, high = images.min(), images.max()
    if images.dtype == numpy.uint8:
        if high <= 1:
            hint = "if they mean 0.0 and 1.0, save them as float; bytes are divided by 255"
            raise DataError(f"{where}: uint8 images whose largest value is {high}", hint)
        return True
    if numpy.isnan(low):
        raise DataError(f"{where}: images hold NaN", "remove those images or repair them")
    if kind == "f" and low >= 0 and high <= 1:
        return False
    whole = low >= 0 and high <= PIXEL_LEVELS and (kind != "f" or bool((images == numpy.floor(images)).all()))
    if whole and high > HALF_LEVELS:
        return True
    shown = f"{images.dtype} images range from {low:.9g} to {high:.9g}"
    if whole:
        readings = f"white can be {PIXEL_LEVELS} or {high:.9g}"
        raise DataError(f"{where}: {shown}: {readings}", f"save them as uint8, or divide by {high:.9g}")
    if kind != "f":
        raise DataError(f"{where}: {shown}, not within 0..{PIXEL_LEVELS}", "divide by their white and save as float")
    hint = "undo the normalisation: pixels go in as 0..1 and --mean/--std belong to the model"
    if low >= 0 and high <= PIXEL_LEVELS:
        hint = "divide by 255, or save as uint8"
    raise DataError(f"{where}: float images range from {low:.9g} to {high:.9g}, not within [0, 1]", hint)


def to_channels_first(images: NDArray[Any], layout: str, *, levels: bool) -> NDArray[Any]:
    """[N, C, H, W] or [N, F], contiguous, uint8 where the values are `levels` 0..255, else float32."""
    if layout == "NHW":
        images = images[:, None]
    elif layout == "NHWC":
        images = images.transpose(0, 3, 1, 2)
    return numpy.ascontiguousarray(images, dtype=numpy.uint8 if levels else numpy.float32)


def interpret(images: NDArray[Any], layout: str, *, levels: bool) -> str:
    """In words, e.g. `uint8 NHWC, 1000 x 32 x 32 x 3`; what is unusual about the values is said too."""
    said = f"{images.dtype} {layout}, {' x '.join(str(size) for size in images.shape)}"
    if not levels:
        return said
    if images.dtype != numpy.uint8:
        return f"{said}, divided by {PIXEL_LEVELS}"
    high = int(images.max())
    return said if high > HALF_LEVELS else f"{said}, the largest value is {high} of {PIXEL_LEVELS}"


def _names() -> str:
    return ", ".join(LAYOUTS)
