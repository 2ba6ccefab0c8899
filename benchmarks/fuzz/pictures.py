"""Image files: usual ones, and those that a folder from elsewhere holds by accident."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image

from .case import pick
from .damage import damaged

SIDE = 16


def usual(draws: Generator) -> bytes:
    """A coloured PNG file of 16 x 16 pixels."""
    return saved(_colour(draws))


def saved(image: Any, kind: str = "PNG", **options: Any) -> bytes:
    """The image as a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _colour(draws: Generator, width: int = SIDE, height: int = SIDE) -> Image.Image:
    return Image.fromarray(draws.integers(0, 256, (height, width, 3), dtype=np.uint8))


def _mode(mode: str, kind: str = "PNG", **options: Any) -> Callable[[Generator], bytes]:
    return lambda draws: saved(_colour(draws).convert(mode), kind, **options)


def _size(width: int, height: int) -> Callable[[Generator], bytes]:
    return lambda draws: saved(_colour(draws, width, height))


def _frames(kind: str) -> Callable[[Generator], bytes]:
    return lambda draws: saved(_colour(draws), kind, save_all=True, append_images=[_colour(draws) for _ in range(3)])


def _numbers(dtype: str, kind: str, factor: float) -> Callable[[Generator], bytes]:
    return lambda draws: saved(Image.fromarray((draws.random((SIDE, SIDE)) * factor).astype(dtype)), kind)


def _header(width: int, height: int, depth: int = 8, colour: int = 2) -> Callable[[Generator], bytes]:
    """A PNG file whose header tells of another image than its data."""

    def make(_draws: Generator) -> bytes:
        fields = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        chunks = ((b"IHDR", fields), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
        parts = (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

    return make


def _turned(orientation: int) -> Callable[[Generator], bytes]:
    def make(draws: Generator) -> bytes:
        marks = Image.Exif()
        marks[0x0112] = orientation
        return saved(_colour(draws), "JPEG", exif=marks)

    return make


def _transparent(draws: Generator) -> bytes:
    return saved(_colour(draws).quantize(16), "PNG", transparency=3)


def _cut(kind: str) -> Callable[[Generator], bytes]:
    def make(draws: Generator) -> bytes:
        content = saved(_colour(draws), kind)
        return content[: int(len(content) * pick(draws, (0.1, 0.5, 0.9, 0.99)))]

    return make


def _damaged(kind: str) -> Callable[[Generator], bytes]:
    return lambda draws: damaged(draws, saved(_colour(draws), kind))[0]


def _text(content: bytes) -> Callable[[Generator], bytes]:
    return lambda _draws: content


PICTURES: dict[str, Callable[[Generator], bytes]] = {
    "gray": _mode("L"),
    "black and white": _mode("1"),
    "gray with alpha": _mode("LA"),
    "alpha": _mode("RGBA"),
    "palette": _mode("P"),
    "palette with transparency": _transparent,
    "16 bit": _numbers("uint16", "PNG", 65535),
    "16 bit TIFF": _numbers("uint16", "TIFF", 65535),
    "32 bit TIFF": _numbers("int32", "TIFF", 2**30),
    "float TIFF": _numbers("float32", "TIFF", 1),
    "CMYK JPEG": _mode("CMYK", "JPEG"),
    "CMYK TIFF": _mode("CMYK", "TIFF"),
    "LAB TIFF": _mode("LAB", "TIFF"),
    "YCbCr JPEG": _mode("YCbCr", "JPEG"),
    "gray JPEG": _mode("L", "JPEG"),
    "progressive JPEG": _mode("RGB", "JPEG", progressive=True),
    "lossless WebP": _mode("RGBA", "WEBP", lossless=True),
    "bitmap": _mode("RGB", "BMP"),
    "portable map": _mode("RGB", "PPM"),
    "GIF": _mode("P", "GIF"),
    "icon": _mode("RGBA", "ICO"),
    "EPS": _mode("RGB", "EPS"),
    "PDF": _mode("RGB", "PDF"),
    "TGA": _mode("RGB", "TGA"),
    "JPEG 2000": _mode("RGB", "JPEG2000"),
    "animated GIF": _frames("GIF"),
    "animated PNG": _frames("PNG"),
    "animated WebP": _frames("WEBP"),
    "pages of TIFF": _frames("TIFF"),
    "one pixel": _size(1, 1),
    "one line": _size(200, 1),
    "tall": _size(2, 300),
    "another size": _size(20, 16),
    "eight": _size(8, 8),
    "huge header": _header(100_000, 100_000),
    "bomb header": _header(2**31 - 1, 2**31 - 1),
    "no width": _header(0, 16),
    "short data": _header(16, 16),
    "odd depth": _header(16, 16, 7, 2),
    "odd colour": _header(16, 16, 8, 5),
    "turned": _turned(6),
    "mirrored": _turned(2),
    "odd turn": _turned(99),
    "cut PNG": _cut("PNG"),
    "cut JPEG": _cut("JPEG"),
    "cut WebP": _cut("WEBP"),
    "cut TIFF": _cut("TIFF"),
    "damaged PNG": _damaged("PNG"),
    "damaged JPEG": _damaged("JPEG"),
    "damaged WebP": _damaged("WEBP"),
    "damaged TIFF": _damaged("TIFF"),
    "damaged BMP": _damaged("BMP"),
    "empty": _text(b""),
    "words": _text(b"404: Not Found\n"),
    "page": _text(b"<!DOCTYPE html><html><body>Access denied</body></html>"),
    "pointer": _text(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"),
    "SVG": _text(b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'),
    "zeros": _text(b"\0" * 1000),
    "resource fork": _text(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "),
    "text map": _text(b"P3\n2 2\n255\n" + b"1 2 3 " * 4),
    "map of too much": _text(b"P6\n30000 30000\n255\n" + b"\0" * 50),
    "map of words": _text(b"P3\n2 2\n255\na b c"),
}
"""Name -> what makes the file's bytes."""
