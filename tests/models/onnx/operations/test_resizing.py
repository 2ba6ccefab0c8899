"""Resize and Upsample against onnxruntime, in all their modes."""

from __future__ import annotations

import numpy
import pytest

from ..building import Case, check, ints

SCALES = [numpy.float32([1, 1, 2, 1.5]), numpy.float32([1, 1, 0.5, 0.7])]
SIZES = [ints(1, 3, 9, 4), ints(1, 3, 3, 13)]
EMPTY = numpy.float32([])
TRANSFORMS = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def resize(mode: str, transform: str, scales: object, sizes: object, opset: int = 13, **attributes: object) -> Case:
    settings = {"mode": mode, "coordinate_transformation_mode": transform, **attributes}
    operands = [EMPTY, scales] if sizes is None else [EMPTY, EMPTY if opset < 13 else None, sizes]
    return Case("Resize", (3, 6, 7), operands, opset, settings)


def sized(sizes: numpy.ndarray) -> numpy.ndarray:
    """Scales of which the axes before the last two are 1, that give these sizes for 6 x 7."""
    return (sizes / numpy.array([1, 3, 6, 7])).astype(numpy.float32)


CASES = [
    *[
        resize(mode, transform, scales, None)
        for mode in ("linear", "cubic")
        for transform in TRANSFORMS
        for scales in SCALES
    ],
    *[
        resize("nearest", transform, scales, None, nearest_mode=rounding)
        for transform in TRANSFORMS
        for rounding in ROUNDINGS
        for scales in SCALES
    ],
    *[resize(mode, "half_pixel", sized(sizes), None, 11) for mode in ("nearest", "linear", "cubic") for sizes in SIZES],
    *[
        Case("Resize", (3, 6, 7), [None, None, sizes], 18, {"mode": mode, "axes": [1, 2, 3]})
        for mode in ("nearest", "linear")
        for sizes in (ints(3, 9, 4), ints(3, 6, 5))
    ],
    resize("cubic", "half_pixel", SCALES[0], None, cubic_coeff_a=-0.5, exclude_outside=1),
    resize("linear", "half_pixel_symmetric", SCALES[1], None, 19),
    resize("linear", "half_pixel", SCALES[1], None, 18, antialias=1),
    resize("cubic", "half_pixel", SCALES[1], None, 18, antialias=1),
    resize("linear", "half_pixel", SCALES[0], None, 18, antialias=1),
    resize("linear", "half_pixel", numpy.float32([2, 0.5]), None, 18, axes=[2, 3]),
    Case("Resize", (3, 6, 7), [None, None, ints(9, 4)], 18, {"mode": "linear", "axes": [2, 3]}),
    Case("Resize", (3, 6, 7), [None, None, ints(9, 4)], 18, {"mode": "nearest", "axes": [2, 3]}),
    Case("Resize", (3, 6, 7), [SCALES[0]], 10, {"mode": "linear"}),
    Case("Resize", (3, 6, 7), [SCALES[0]], 10, {"mode": "nearest"}),
    Case("Upsample", (3, 6, 7), [SCALES[0]], 9, {"mode": "nearest"}),
    Case("Upsample", (3, 6, 7), [SCALES[0]], 9, {"mode": "linear"}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_resizing(case):
    check(case)
