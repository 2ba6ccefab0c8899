from __future__ import annotations

import numpy
import pytest

from lsa_audit.data.base import InputSpec
from lsa_audit.data.layouts import check_values, find_layout, interpret, to_channels_first
from lsa_audit.errors import DataError


@pytest.mark.parametrize(
    ("shape", "spec", "layout"),
    [
        ((5, 7), InputSpec(), "NF"),
        ((5, 28, 28), InputSpec(), "NHW"),
        ((5, 28, 3), InputSpec(), "NHW"),
        ((5, 32, 32, 3), InputSpec(), "NHWC"),
        ((5, 32, 32, 1), InputSpec(), "NHWC"),
        ((5, 3, 32, 32), InputSpec(), "NCHW"),
        ((5, 1, 28, 28), InputSpec(), "NCHW"),
        ((5, 4, 9, 9), InputSpec(shape=(4, 9, 9)), "NCHW"),
        ((5, 9, 9, 4), InputSpec(channels=4), "NHWC"),
        ((5, 3, 32, 3), InputSpec(shape=(3, 32, 3)), "NCHW"),
        ((5, 3, 32, 3), InputSpec(shape=(3, 3, 32)), "NHWC"),
    ],
)
def test_layout_is_found(shape, spec, layout):
    assert find_layout(shape, spec, "data") == layout


@pytest.mark.parametrize(
    ("shape", "spec", "stated", "part"),
    [
        ((5, 3, 32, 3), InputSpec(), None, "as NHWC and as NCHW; say which"),
        ((5, 3, 3, 3), InputSpec(shape=(3, 3, 3)), None, "as NHWC and as NCHW"),
        ((5, 3, 32, 1), InputSpec(shape=(3, 32, 32)), None, "as NHWC and as NCHW"),
        ((5, 9, 9, 4), InputSpec(), None, "no side of 1 or 3 channels"),
        ((5,), InputSpec(), None, "1 dimensions"),
        ((5, 1, 2, 3, 4), InputSpec(), None, "5 dimensions"),
        ((5, 0, 32, 3), InputSpec(), None, "are empty"),
        ((5, 32, 32, 3), InputSpec(), "NHW", "layout 'NHW' does not fit"),
        ((5, 32, 32, 3), InputSpec(), "CHWN", "layout 'CHWN' does not fit"),
    ],
)
def test_doubt_is_an_error(shape, spec, stated, part):
    with pytest.raises(DataError, match=part):
        find_layout(shape, spec, "data", stated)


def test_stated_layout_settles_the_doubt():
    assert find_layout((5, 3, 32, 3), InputSpec(), "data", "NCHW") == "NCHW"
    assert find_layout((5, 3, 32, 3), InputSpec(), "data", "NHWC") == "NHWC"


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NHW", "NF"])
def test_every_layout_leads_to_the_same_pixels(layout):
    channels = 3 if layout in ("NHWC", "NCHW") else 1
    wanted = numpy.random.default_rng(0).integers(0, 256, (2, channels, 4, 5), dtype=numpy.uint8)
    given = {
        "NHWC": wanted.transpose(0, 2, 3, 1),
        "NCHW": wanted,
        "NHW": wanted[:, 0],
        "NF": wanted.reshape(2, -1),
    }[layout]
    result = to_channels_first(given, layout, levels=True)
    assert result.flags["C_CONTIGUOUS"]
    assert numpy.array_equal(result, given if layout == "NF" else wanted)


@pytest.mark.parametrize("kind", ["float16", "float64", ">f4"])
def test_floats_become_float32(kind):
    result = to_channels_first(numpy.array([[0.25, 0.5]], dtype=kind), "NF", levels=False)
    assert result.dtype == numpy.dtype("=f4")
    assert result.tolist() == [[0.25, 0.5]]


@pytest.mark.parametrize(
    ("images", "levels"),
    [
        (numpy.array([[0, 2]], dtype="uint8"), True),
        (numpy.array([[0, 255]], dtype="uint8"), True),
        (numpy.array([[0.0, 1.0]]), False),
        (numpy.array([[0.0, 0.004]], dtype="float16"), False),
        (numpy.array([[0, 255]]), True),
        (numpy.array([[3, 200]], dtype="int32"), True),
        (numpy.array([[0, 255]], dtype="uint16"), True),
        (numpy.array([[0, 255]], dtype=">u2"), True),
        (numpy.array([[0.0, 255.0]]), True),
        (numpy.array([[7.0, 128.0]], dtype="float32"), True),
    ],
)
def test_pixels_pass_as_levels_or_as_fractions(images, levels):
    assert check_values(images, "data") is levels
    result = to_channels_first(images, "NF", levels=levels)
    assert result.dtype == (numpy.uint8 if levels else numpy.float32)
    assert result.tolist() == images.astype("float32").tolist()


@pytest.mark.parametrize(
    ("images", "part"),
    [
        (numpy.array([[0.5, 255.0]]), "range from 0.5 to 255, not within .* divide by 255"),
        (numpy.array([[0.0, 16.0]]), "from 0 to 16: white can be 255 or 16; save them as uint8, or divide by 16"),
        (numpy.array([[0, 16]], dtype="int32"), "int32 images range from 0 to 16: white can be 255 or 16"),
        (numpy.array([[0, 1]]), "from 0 to 1: white can be 255 or 1"),
        (numpy.array([[0, 65535]], dtype="uint16"), "range from 0 to 65535, not within 0..255; divide by their white"),
        (numpy.array([[-1, 255]], dtype="int16"), "range from -1 to 255, not within 0..255"),
        (numpy.array([[-128, 127]], dtype="int8"), "range from -128 to 127, not within 0..255"),
        (numpy.array([[-1.0, 1.0]]), "range from -1 to 1, not within .* undo the normalisation"),
        (numpy.array([[0.0, 1.0000002]], dtype="float32"), "range from 0 to 1.0000002"),
        (numpy.array([[0.0, 300.0]]), "undo the normalisation"),
        (numpy.array([[0.0, numpy.inf]]), "range from 0 to inf"),
        (numpy.array([[0.0, numpy.nan]]), "NaN"),
        (numpy.array([[0, 1]], dtype="uint8"), "largest value is 1"),
        (numpy.array([[0, 0]], dtype="uint8"), "largest value is 0"),
        (numpy.array([[True, False]]), "of type bool"),
        (numpy.array([["a"]]), "of type <U1"),
        (numpy.array([[1j]]), "of type complex128"),
        (numpy.empty((0, 4, 4), dtype="uint8"), "no images"),
    ],
)
def test_other_values_are_refused(images, part):
    with pytest.raises(DataError, match=part):
        check_values(images, "data")


def test_interpretation_names_type_layout_and_shape():
    zeros = numpy.zeros((3, 8, 9))
    assert interpret(zeros, "NHW", levels=False) == "float64 NHW, 3 x 8 x 9"
    assert interpret(zeros + 200, "NHW", levels=True) == "float64 NHW, 3 x 8 x 9, divided by 255"
    assert interpret((zeros + 200).astype("uint8"), "NHW", levels=True) == "uint8 NHW, 3 x 8 x 9"
    dark = interpret((zeros + 16).astype("uint8"), "NHW", levels=True)
    assert dark == "uint8 NHW, 3 x 8 x 9, the largest value is 16 of 255"
