"""Image files to pixels: header pass first, then decoding of the chosen files only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..errors import DataError
from .base import InputSpec
from .transforms import (
    COLOUR,
    GRAY,
    check_spec,
    enlargement,
    photo_sentence,
    photo_transform,
    scale,
    wanted_channels,
    wanted_features,
)

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

# Only these parsers may run, whatever a file is called: Pillow hands PostScript to another program.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GRAY_MODES = frozenset({"1", "L", "LA", "La"})
COLOUR_MODES = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"})


@dataclass(frozen=True)
class Header:
    """What an image file says before it is decoded."""

    mode: str
    size: tuple[int, int]

    @property
    def gray(self) -> bool:
        return self.mode in GRAY_MODES


def read_photos(folder: Path, names: Sequence[str], spec: InputSpec) -> tuple[Tensor, tuple[str, ...]]:
    """The named files as uint8 [N, C, H, W], and the changes in words.

    With `spec.shape` each image goes through timm's evaluation transform; without it all must have one size. Colour
    files for a gray model are taken only where their three channels are equal. Rotation marks (EXIF) are not applied,
    as in timm and torchvision.

    Args:
        folder: the files' base.
        names: [N] paths inside `folder`.

    Raises:
        DataError: a file that is missing, damaged or of an unsupported kind; sizes that differ; a model that wants
            features, or channels that image files do not have.

    Cost: N decodes, on as many threads as torch uses.
    """
    check_spec(spec)
    wanted = wanted_channels(spec)
    if (features := wanted_features(spec)) is not None:
        raise DataError(f"the model wants {features} features and {folder} holds images", "give vectors as an .npz")
    if wanted not in (None, GRAY, COLOUR):
        raise DataError(f"the model wants {wanted} channels and image files have 1 or 3", "give the images as an .npz")
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        headers = list(pool.map(lambda name: _header(folder, name), names))
        channels = wanted or (GRAY if all(header.gray for header in headers) else COLOUR)
        height, width = spec.shape[1:] if spec.shape is not None else _common_size(names, headers)
        transform = photo_transform(spec)

        def read(name: str) -> Tensor:
            return transform(_decode(folder, name, channels))

        pixels = torch.empty((len(names), channels, height, width), dtype=torch.uint8)
        for index, image in enumerate(pool.map(read, names)):
            pixels[index] = image
    done = _mode_sentences(headers, channels)
    untouched = spec.crop_share == 1 and all(header.size == (width, height) for header in headers)
    if spec.shape is not None and not untouched:
        done.append(photo_sentence(height, width, spec))
        done += enlargement(max(scale(header.size[::-1], spec) for header in headers))
    return pixels, tuple(done)


def _open(folder: Path, name: str) -> Image.Image:
    return Image.open(folder / name, formats=FORMATS)


def _header(folder: Path, name: str) -> Header:
    try:
        with _open(folder, name) as image:
            header = Header(image.mode, image.size)
    except FileNotFoundError:
        raise DataError(f"image {name} does not exist in {folder}", "check the list of files") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(folder, name, error) from error
    if header.mode not in GRAY_MODES | COLOUR_MODES:
        hint = "save it with 8 bits per channel: the range of other images is not known"
        raise DataError(f"image {name} in {folder} has mode {header.mode}", hint)
    return header


def _decode(folder: Path, name: str, channels: int) -> Image.Image:
    """The image in mode L or RGB, as `channels` says."""
    try:
        with _open(folder, name) as image:
            gray = image.mode in GRAY_MODES
            decoded = image.convert("L" if gray else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(folder, name, error) from error
    if channels == COLOUR:
        return decoded.convert("RGB")
    if gray:
        return decoded
    red, green, blue = (band.tobytes() for band in decoded.split())
    if red != green or red != blue:
        raise DataError(f"the model wants gray images and {name} is in colour", "convert the images to gray first")
    return decoded.getchannel("R")


def _unreadable(folder: Path, name: str, error: BaseException) -> DataError:
    reason = "not an image of a known format" if isinstance(error, UnidentifiedImageError) else str(error)
    return DataError(f"image {name} in {folder} cannot be read: {reason}", "remove or replace it")


def _common_size(names: Sequence[str], headers: Sequence[Header]) -> tuple[int, int]:
    first = headers[0].size
    for name, header in zip(names, headers, strict=True):
        if header.size != first:
            sizes = f"{names[0]} is {first[0]}x{first[1]} and {name} is {header.size[0]}x{header.size[1]}"
            raise DataError(f"the images differ in size: {sizes}", "give --input-size CxHxW")
    return first[1], first[0]


def _mode_sentences(headers: Sequence[Header], channels: int) -> list[str]:
    result = []
    for mode, count in sorted(Counter(header.mode for header in headers).items()):
        share = "" if count == len(headers) else f" for {count} of {len(headers)} images"
        gray = mode in GRAY_MODES
        if mode not in ("L", "RGB"):
            result.append(f"{mode} to {'gray' if gray else 'RGB'}{share}")
        if gray and channels == COLOUR:
            result.append(f"gray to RGB (the channel repeated){share}")
        if not gray and channels == GRAY:
            result.append(f"RGB to gray (its three channels are equal){share}")
    return result
