"""Image files to pixels: header pass first, then decoding of the chosen files only."""

from __future__ import annotations

import stat
import struct
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import ExifTags, Image, UnidentifiedImageError
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

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Rotation mark -> what turns the image upright."""
EXIF_OF_PNG = frozenset({"exif", "Raw profile type exif", "XML:com.adobe.xmp"})
"""What Pillow calls the blocks of a PNG that may hold the mark."""
DAMAGED_EXIF = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, OSError),
    *(SyntaxError, TypeError, ValueError, struct.error),
)
"""A damaged block fails in Pillow in many ways; it spoils nothing but the mark."""
FIRST_ACROSS = 5
"""From this mark on width and height change places."""

GRAY_MODES = frozenset({"1", "L", "LA", "La"})
COLOUR_MODES = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"})


@dataclass(frozen=True)
class Header:
    """What an image file says before it is decoded; `size` is (width, height) once its rotation mark is applied."""

    mode: str
    size: tuple[int, int]
    turned: bool = False

    @property
    def gray(self) -> bool:
        return self.mode in GRAY_MODES


def read_photos(folder: Path, names: Sequence[str], spec: InputSpec) -> tuple[Tensor, tuple[str, ...]]:
    """The named files as uint8 [N, C, H, W], and the changes in words.

    With `spec.shape` each image goes through timm's evaluation transform; without it all must have one size. Colour
    files for a gray model are taken only where their three channels are equal. Rotation marks (EXIF) are applied: the
    image is turned as every viewer shows it.

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
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        warnings.filterwarnings("ignore", message="Corrupt EXIF data")
        headers = list(pool.map(lambda name: _header(folder, name), names))
        channels = wanted or (GRAY if all(header.gray for header in headers) else COLOUR)
        height, width = spec.shape[1:] if spec.shape is not None else _common_size(names, headers)
        transform = photo_transform(spec)

        def read(name: str) -> Tensor:
            return transform(_decode(folder, name, channels))

        pixels = torch.empty((len(names), channels, height, width), dtype=torch.uint8)
        for index, image in enumerate(pool.map(read, names)):
            pixels[index] = image
    done = [*_turned_sentence(headers), *_mode_sentences(headers, channels)]
    untouched = spec.crop_share == 1 and all(header.size == (width, height) for header in headers)
    if spec.shape is not None and not untouched:
        done.append(photo_sentence(height, width, spec))
        done += enlargement(max(scale(header.size[::-1], spec) for header in headers))
    return pixels, tuple(done)


def _open(folder: Path, name: str) -> Image.Image:
    path = folder / name
    # Opening a pipe would wait for whoever writes to it, and a device has no end.
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is a pipe, a device or a folder")
    return Image.open(path, formats=FORMATS)


def _header(folder: Path, name: str) -> Header:
    try:
        if (folder / name).exists() and not (folder / name).is_file():
            raise DataError(f"image {name} in {folder} is no file", "remove or replace it")
        with _open(folder, name) as image:
            header = _described(image)
    except FileNotFoundError:
        raise DataError(f"image {name} does not exist in {folder}", "check the list of files") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(folder, name, error) from error
    if header.mode not in GRAY_MODES | COLOUR_MODES:
        hint = "save it with 8 bits per channel: the range of other images is not known"
        raise DataError(f"image {name} in {folder} has mode {header.mode}", hint)
    return header


def _described(image: Image.Image) -> Header:
    turn = _turn(image)
    width, height = image.size
    # Pillow itself turns a TIFF, and gives its size as turned.
    across = turn is not None and turn >= FIRST_ACROSS and image.format != "TIFF"
    return Header(image.mode, (height, width) if across else (width, height), turn is not None)


def _turn(image: Image.Image) -> int | None:
    """The rotation mark (EXIF) of an open image, 2..8; None where there is none that says anything."""
    if image.format == "PNG" and not EXIF_OF_PNG & image.info.keys():
        # Pillow would decode the whole image to look for a mark behind its pixels.
        return None
    try:
        mark = image.getexif().get(ExifTags.Base.Orientation)
    except DAMAGED_EXIF:
        return None
    return mark if type(mark) is int and mark in TURNS else None


def _upright(image: Image.Image) -> Image.Image:
    turn = None if image.format == "TIFF" else _turn(image)
    return image if turn is None else image.transpose(TURNS[turn])


def _decode(folder: Path, name: str, channels: int) -> Image.Image:
    """The image in mode L or RGB, as `channels` says."""
    try:
        with _open(folder, name) as image:
            gray = image.mode in GRAY_MODES
            decoded = _upright(image).convert("L" if gray else "RGB")
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


def _turned_sentence(headers: Sequence[Header]) -> list[str]:
    turned = sum(header.turned for header in headers)
    return [f"EXIF rotation applied to {turned} of {len(headers)} images"] if turned else []


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
