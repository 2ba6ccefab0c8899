"""From the data's own shape to the model's input. Every change comes back as a sentence for the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor

from ..errors import DataError
from .base import InputSpec

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
CROP_MODES = ("center", "squash")
GRAY, COLOUR = 1, 3

ENLARGED = "enlarged"
"""The first word of the sentence that says how much larger the images were made."""
LARGE = 2.0
"""Images enlarged more than this hold far less detail than the model was made for."""


def check_spec(spec: InputSpec) -> None:
    """Raises DataError where the wanted input is not a shape that data can be brought to."""
    if spec.interpolation not in INTERPOLATIONS:
        known = ", ".join(INTERPOLATIONS)
        raise DataError(f"interpolation {spec.interpolation!r} is unknown", f"use one of {known}")
    if not 0 < spec.crop_share <= 1:
        raise DataError(f"crop share {spec.crop_share} is not in (0, 1]", "give the share of the short side to keep")
    if spec.crop_mode not in CROP_MODES:
        raise DataError(f"crop mode {spec.crop_mode!r} is not supported", f"use one of {', '.join(CROP_MODES)}")
    if spec.shape is not None and (len(spec.shape) not in (1, 3) or min(spec.shape) < 1):
        raise DataError(f"the model's input {spec.shape} is not (C, H, W) or (F,)", "give --input-size CxHxW")


def wanted_features(spec: InputSpec) -> int | None:
    """The length of the vectors that the model wants; None when it does not ask for vectors."""
    return spec.shape[0] if spec.shape is not None and len(spec.shape) == 1 else None


def wanted_channels(spec: InputSpec) -> int | None:
    """The channels that the model wants; None takes the data's own."""
    return spec.shape[0] if spec.shape is not None and len(spec.shape) == 3 else spec.channels


def to_input(pixels: Tensor, spec: InputSpec) -> tuple[Tensor, tuple[str, ...]]:
    """Arrays to the model's input: resized directly to it (small images have no margin to crop), channels matched.

    With `spec.crops_arrays` they are resized and cropped as photos are.

    Gray becomes RGB by repeating the channel. RGB becomes gray only where the three channels are equal, so nothing is
    lost: colour images for a gray model are far more often the wrong data than a wish for luma.

    Args:
        pixels: uint8 or float32 in [0, 1], [N, C, H, W] or [N, F].

    Returns:
        The same type, [N, *spec.shape], and the changes in words.

    Raises:
        DataError: features for an image model or the reverse, another feature count, or channels that do not match.

    Cost: one Pillow resize per channel and image.
    """
    check_spec(spec)
    if pixels.dim() == 2:
        _check_features(pixels, spec)
        return pixels, ()
    features = wanted_features(spec)
    if features is not None:
        what = f"the model wants {features} features and the data holds images {tuple(pixels.shape[1:])}"
        raise DataError(what, f"flatten the images to [N, {features}]")
    done: list[str] = []
    channels = wanted_channels(spec)
    if channels == GRAY and pixels.shape[1] == COLOUR:
        if not bool((pixels[:, :1] == pixels[:, 1:]).all()):
            raise DataError("the model wants gray images and the data is in colour", "convert it to gray first")
        pixels = pixels[:, :1]
        done.append("RGB to gray (its three channels are equal)")
    before = tuple(pixels.shape[2:])
    if spec.shape is not None and spec.crops_arrays:
        pixels, sentences = _cropped(pixels, spec)
        done += sentences
    elif spec.shape is not None and before != spec.shape[1:]:
        done.append(f"resized {_size(before)} to {_size(spec.shape[1:])} ({_method(spec)})")
        done += enlargement(max(new / old for new, old in zip(spec.shape[1:], before, strict=True)))
        pixels = _resize(pixels, spec.shape[1], spec.shape[2], INTERPOLATIONS[spec.interpolation])
    if channels == COLOUR and pixels.shape[1] == GRAY:
        pixels = pixels.expand(-1, COLOUR, -1, -1)
        done.append("gray to RGB (the channel repeated)")
    if channels is not None and pixels.shape[1] != channels:
        hint = "give data or a model with the same number of channels"
        raise DataError(f"the model wants {channels} channels and the images have {pixels.shape[1]}", hint)
    return pixels, tuple(done)


def photo_transform(spec: InputSpec) -> Callable[[Image.Image], Tensor]:
    """timm's evaluation transform up to the pixels: short side to floor(size / crop_share), then the centre crop.

    Returns:
        A function from an 8-bit Pillow image (mode L or RGB) to uint8 [1 or 3, H, W]. Without `spec.shape` the image
        keeps its size.
    """
    check_spec(spec)
    if spec.shape is None:
        return _to_tensor
    from timm.data.transforms_factory import create_transform

    transform: Callable[[Image.Image], Tensor] = create_transform(
        (spec.shape[1], spec.shape[2]),
        interpolation=spec.interpolation,
        crop_pct=spec.crop_share,
        crop_mode=spec.crop_mode,
        normalize=False,
    )
    return transform


def photo_sentence(height: int, width: int, spec: InputSpec) -> str:
    """What `photo_transform` does for an input of height x width, in words."""
    cover = _cover(height, width, spec)
    if spec.crop_mode == "squash":
        return f"both sides to {_size(cover)} ({spec.interpolation}), centre crop {_size((height, width))}"
    side = f"short side to {cover[0]}" if height == width else f"resized to cover {_size(cover)}"
    return f"{side} ({spec.interpolation}), centre crop {_size((height, width))}"


def scale(size: tuple[int, int], spec: InputSpec) -> float:
    """How many times `photo_transform` enlarges an image of (height, width); 1 without `spec.shape`."""
    if spec.shape is None:
        return 1.0
    ratios = [new / old for new, old in zip(_cover(spec.shape[1], spec.shape[2], spec), size, strict=True)]
    return max(ratios)


def enlargement(times: float) -> tuple[str, ...]:
    """What to say of images that were enlarged so much; nothing where that is little."""
    if times <= LARGE:
        return ()
    return (f"{ENLARGED} {times:.3g} times: the images hold far less detail than the model's input",)


def _cover(height: int, width: int, spec: InputSpec) -> tuple[int, int]:
    """The size that an image must cover before the crop."""
    return int(height / spec.crop_share), int(width / spec.crop_share)


def _cropped(pixels: Tensor, spec: InputSpec) -> tuple[Tensor, list[str]]:
    """Arrays resized until they cover the crop, and cropped at the centre, as `photo_transform` does it."""
    _, height, width = spec.shape or (0, 0, 0)
    before, cover = (int(pixels.shape[2]), int(pixels.shape[3])), _cover(height, width, spec)
    if spec.crop_mode == "squash":
        resized = cover
    elif cover[0] == cover[1]:
        # The longer side rounds down, as torchvision's resize does.
        short = min(before)
        resized = (cover[0] * before[0] // short, cover[0] * before[1] // short)
    else:
        times = scale(before, spec)
        resized = (max(round(before[0] * times), cover[0]), max(round(before[1] * times), cover[1]))
    if resized != before:
        pixels = _resize(pixels, resized[0], resized[1], INTERPOLATIONS[spec.interpolation])
    top, left = round((resized[0] - height) / 2), round((resized[1] - width) / 2)
    pixels = pixels[:, :, top : top + height, left : left + width].contiguous()
    sentence = f"resized {_size(before)} to {_size(resized)} ({_method(spec)}), centre crop {_size((height, width))}"
    return pixels, [sentence, *enlargement(scale(before, spec))]


def _check_features(pixels: Tensor, spec: InputSpec) -> None:
    features, wanted_length = pixels.shape[1], wanted_features(spec)
    if wanted_length is None and (spec.shape is not None or spec.channels is not None):
        wanted = spec.shape if spec.shape is not None else f"{spec.channels} channels"
        raise DataError(
            f"the model wants images ({wanted}) and the data holds vectors of {features} features", "give images"
        )
    if wanted_length not in (None, features):
        raise DataError(f"the model wants {wanted_length} features and the data has {features}", "give matching data")


def _resize(pixels: Tensor, height: int, width: int, method: Image.Resampling) -> Tensor:
    """Pillow for both types: it smooths when shrinking, and gives floats and bytes the same filter."""
    result = torch.empty((*pixels.shape[:2], height, width), dtype=pixels.dtype)
    for index, channels in enumerate(pixels.numpy()):
        for channel, plane in enumerate(channels):
            image = Image.fromarray(numpy.ascontiguousarray(plane)).resize((width, height), method)
            result[index, channel] = torch.from_numpy(numpy.array(image))
    # Bicubic and Lanczos overshoot at edges; Pillow clips bytes itself.
    return result.clamp_(0, 1) if result.is_floating_point() else result


def _to_tensor(image: Image.Image) -> Tensor:
    array = numpy.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else numpy.ascontiguousarray(array.transpose(2, 0, 1)))


def _method(spec: InputSpec) -> str:
    return spec.interpolation if spec.interpolation == "nearest" else f"{spec.interpolation}, antialiased"


def _size(shape: Any) -> str:
    return "x".join(str(int(size)) for size in shape)
