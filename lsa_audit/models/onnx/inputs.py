"""How images are laid out for the input of an ONNX file."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import UsageError
from ...records import InputLayout
from ..request import ModelRequest
from .reading import OnnxFile

CHANNELS = (1, 3, 4)
IMAGE_CHANNELS = (1, 3)
SMALLEST_SIDE = 8
Sizes = tuple[int | None, ...]


@dataclass(frozen=True)
class TakenInput:
    """What the data side delivers, and how an image of it becomes what the file takes.

    Attributes:
        input_shape: (C, H, W) or (F,); None when only the data can tell.
        channels: C where the file states it.
        network_shape: of one image as the file takes it where a flat one has several dimensions.
        origin: where the layout comes from, in words.
    """

    layout: InputLayout
    input_shape: tuple[int, ...] | None
    network_shape: tuple[int, ...] | None
    origin: str
    channels: int | None = None

    @property
    def sample_shape(self) -> tuple[int, ...] | None:
        """Of one image as the file takes it, where that is known."""
        if self.network_shape is not None or self.input_shape is None:
            return self.network_shape
        if self.layout == "flat":
            return (math.prod(self.input_shape),)
        channels, *sides = self.input_shape
        return (*sides, channels) if self.layout == "nhwc" else self.input_shape


def take(source: OnnxFile, request: ModelRequest) -> TakenInput:
    """The layout that the file's input shape tells, or that the request names.

    [N, C, H, W] and [N, H, W, C] are told apart by the side that counts 1, 3 or 4 channels. An input with at most one
    side above 1, or without a third side, is flat: a square image with 1 or 3 channels is delivered where the size is
    that of one (784 as 1x28x28), else feature vectors; an input size in the request goes before that.

    Raises:
        UsageError: the shape leaves the layout open, or contradicts the request.
    """
    layout = request.layout or _layout(source.input_shape, request.input_shape, source.name)
    origin = f"the input shape {_text(source.input_shape)} of the file"
    if layout == "flat":
        return _flat(source, request, origin)
    if len(source.input_shape) != 3:
        what = f"{source.name} takes {_text(source.input_shape)} an image, which is not {layout}"
        raise UsageError(what, "leave --layout out, or give --layout flat")
    first, second, third = source.input_shape
    wanted = (first, second, third) if layout == "nchw" else (third, first, second)
    return TakenInput(layout, _merged(wanted, request, source.name), None, origin, wanted[0])


def _layout(shape: Sizes, wanted: tuple[int, ...] | None, name: str) -> InputLayout:
    if len(shape) < 3 or sum(size != 1 for size in shape) <= 1:
        return "flat"
    if len(shape) > 3:
        raise UsageError(f"{name} takes {_text(shape)} an image", "give --layout flat if that is one image in a row")
    first, last = shape[0] in CHANNELS, shape[-1] in CHANNELS
    if first and last:
        fits_first, fits_last = wanted == shape, wanted == (shape[-1], *shape[:-1])
        if fits_first == fits_last:
            what = f"{name} takes {_text(shape)} an image, with channels first or last"
            raise UsageError(what, "give --layout nchw or --layout nhwc")
        return "nchw" if fits_first else "nhwc"
    return "nhwc" if last else "nchw"


def _flat(source: OnnxFile, request: ModelRequest, origin: str) -> TakenInput:
    stated = source.input_shape
    if None in stated:
        if len(stated) > 1:
            hint = "export it with fixed sizes"
            raise UsageError(f"{source.name} takes {_text(stated)} an image, which leaves its size open", hint)
        return TakenInput("flat", request.input_shape, None, origin)
    shape = tuple(size for size in stated if size is not None)
    size = math.prod(shape)
    if request.input_shape is None:
        delivered = _square(size)
        origin = f"{origin}, taken as {_text(delivered)}"
    elif math.prod(request.input_shape) != size:
        raise _mismatch(stated, request, source.name)
    else:
        delivered = request.input_shape
    return TakenInput("flat", delivered, shape if len(shape) > 1 else None, origin)


def _square(size: int) -> tuple[int, ...]:
    """The square image that a flat input of this size stands for, or the feature vector."""
    for channels in IMAGE_CHANNELS:
        side = math.isqrt(size // channels)
        if channels * side * side == size and side >= SMALLEST_SIDE:
            return (channels, side, side)
    return (size,)


def _merged(stated: Sizes, request: ModelRequest, name: str) -> tuple[int, ...] | None:
    """The sizes of the file, completed by the request."""
    if request.input_shape is None:
        known = tuple(size for size in stated if size is not None)
        return known if len(known) == len(stated) else None
    asked = request.input_shape
    if len(asked) != 3 or any(size not in (None, other) for size, other in zip(stated, asked, strict=True)):
        raise _mismatch(stated, request, name)
    return asked


def _mismatch(stated: Sizes, request: ModelRequest, name: str) -> UsageError:
    asked = f"the input size {_text(request.input_shape or ())} ({request.origin('input_shape')})"
    return UsageError(f"{name} takes {_text(stated)} an image, not {asked}", "leave --input-size out")


def _text(shape: Sizes) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)
