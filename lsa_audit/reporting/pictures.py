"""The gallery's arrays as PNG files. They come from an `evidence.npz` of anybody's and are checked before use."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError
from ..records import AuditRecord
from ..units import PIXEL_LEVELS
from .shown import Picture

AMPLIFIED = 10
ENLARGED_TO = 128
REDUCED_TO = 160
MOST_VALUES = 2**26
DAMAGED = "copy the run again, or scan again"

Pixels = NDArray[np.float32]


def pictures(record: AuditRecord, evidence: Mapping[str, NDArray[Any]]) -> tuple[Picture, ...]:
    """One for each flipped image of the record, in its order.

    Args:
        evidence: holds `gallery/clean` and `gallery/adversarial`, [G, C, H, W], uint8 or floats in [0, 1].

    Raises:
        DataError: an array is missing, or is not what the record says.
    """
    if not record.gallery:
        return ()
    clean, adversarial = (_images(record, evidence, f"gallery/{name}") for name in ("clean", "adversarial"))
    if any(not 0 <= flipped.place < len(clean) for flipped in record.gallery):
        raise DataError("the record's gallery names an image that evidence.npz does not hold", DAMAGED)
    return tuple(
        Picture(
            flipped=flipped,
            clean=_png(clean[flipped.place]),
            adversarial=_png(adversarial[flipped.place]),
            difference=_difference(clean[flipped.place], adversarial[flipped.place]),
        )
        for flipped in record.gallery
    )


def _images(record: AuditRecord, evidence: Mapping[str, NDArray[Any]], name: str) -> Pixels:
    """[G, C, H, W] in [0, 1]."""
    if name not in evidence:
        raise DataError(f"evidence.npz holds no {name}, and the record shows flipped images", DAMAGED)
    array = evidence[name]
    shape = (len(record.gallery), *record.model.input_shape)
    if array.shape != shape or len(shape) != 4 or shape[1] not in (1, 3) or math.prod(shape) > MOST_VALUES:
        raise DataError(f"evidence.npz: {name} has shape {array.shape}, not that of the record's images", DAMAGED)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError(f"evidence.npz: {name} is {array.dtype}, neither uint8 nor floats", DAMAGED)
    pixels: Pixels = array.astype(np.float32) / np.float32(PIXEL_LEVELS if array.dtype == np.uint8 else 1)
    # NaN is in no range.
    if not ((pixels >= 0) & (pixels <= 1)).all():
        raise DataError(f"evidence.npz: {name} holds values outside [0, 1]", DAMAGED)
    return pixels


def _difference(clean: Pixels, adversarial: Pixels) -> bytes:
    amplified = np.clip(0.5 + AMPLIFIED * (adversarial - clean), 0, 1)
    # A mean over neighbours would let noise look smaller than it is.
    return _png(amplified, Image.Resampling.NEAREST)


def _png(pixels: Pixels, reduce: Image.Resampling = Image.Resampling.BOX) -> bytes:
    """[C, H, W] in [0, 1] as a file: small images enlarged by a whole factor, large ones reduced."""
    levels = np.rint(pixels * PIXEL_LEVELS).astype(np.uint8)
    image = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))
    longest = max(image.size)
    if longest > REDUCED_TO:
        width, height = (max(1, round(side * REDUCED_TO / longest)) for side in image.size)
        image = image.resize((width, height), reduce)
    elif factor := ENLARGED_TO // longest:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
