"""Which layout an input shape stands for, and what the data side then delivers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lsa_audit.errors import UsageError
from lsa_audit.models import ModelRequest
from lsa_audit.models.onnx.inputs import TakenInput, take
from lsa_audit.models.onnx.reading import OnnxFile, read
from lsa_audit.settings.limits import Limits

from .model_files import cnn, save


@pytest.fixture
def source(tmp_path: Path) -> OnnxFile:
    return read(save(cnn(), tmp_path), Limits())


def taken(source: OnnxFile, shape: tuple[int | None, ...], **asked: object) -> TakenInput:
    return take(replace(source, input_shape=shape), ModelRequest("net.onnx", **asked))


@pytest.mark.parametrize(
    ("shape", "layout", "delivered", "network_shape"),
    [
        ((3, 32, 32), "nchw", (3, 32, 32), None),
        ((12, 64, 64), "nchw", (12, 64, 64), None),
        ((32, 32, 3), "nhwc", (3, 32, 32), None),
        ((20, 30, 1), "nhwc", (1, 20, 30), None),
        ((3, None, None), "nchw", None, None),
        ((None, None, 3), "nhwc", None, None),
        ((None, None, None), "nchw", None, None),
        ((784,), "flat", (1, 28, 28), None),
        ((3072,), "flat", (3, 32, 32), None),
        ((784, 1), "flat", (1, 28, 28), (784, 1)),
        ((1, 784), "flat", (1, 28, 28), (1, 784)),
        ((1, 784, 1), "flat", (1, 28, 28), (1, 784, 1)),
        ((28, 28), "flat", (1, 28, 28), (28, 28)),
        ((30,), "flat", (30,), None),
        ((16,), "flat", (16,), None),
        ((None,), "flat", None, None),
    ],
)
def test_shapes_tell_the_layout(source, shape, layout, delivered, network_shape):
    found = taken(source, shape)
    assert (found.layout, found.input_shape, found.network_shape) == (layout, delivered, network_shape)


@pytest.mark.parametrize(
    ("shape", "asked", "layout", "delivered"),
    [
        ((3, 20, 3), {"layout": "nchw"}, "nchw", (3, 20, 3)),
        ((3, 20, 3), {"layout": "nhwc"}, "nhwc", (3, 3, 20)),
        ((3, 20, 3), {"input_shape": (3, 3, 20)}, "nhwc", (3, 3, 20)),
        ((3, None, None), {"input_shape": (3, 64, 48)}, "nchw", (3, 64, 48)),
        ((None, None, 3), {"input_shape": (3, 64, 48)}, "nhwc", (3, 64, 48)),
        ((784,), {"input_shape": (784,)}, "flat", (784,)),
        ((784,), {"input_shape": (4, 14, 14)}, "flat", (4, 14, 14)),
        ((2, 3, 4, 5), {"layout": "flat"}, "flat", (120,)),
        ((None,), {"input_shape": (1, 8, 8)}, "flat", (1, 8, 8)),
    ],
)
def test_the_request_completes_the_file(source, shape, asked, layout, delivered):
    found = taken(source, shape, **asked)
    assert (found.layout, found.input_shape) == (layout, delivered)


@pytest.mark.parametrize(
    ("shape", "asked", "hint"),
    [
        ((3, 20, 3), {}, "--layout nchw or --layout nhwc"),
        ((3, 3, 3), {"input_shape": (3, 3, 3)}, "--layout nchw or --layout nhwc"),
        ((2, 3, 4, 5), {}, "--layout flat"),
        ((784,), {"layout": "nchw"}, "--layout"),
        ((3, 32, 32), {"input_shape": (1, 28, 28)}, "--input-size"),
        ((3, 32, 32), {"input_shape": (3072,)}, "--input-size"),
        ((784,), {"input_shape": (3, 28, 28)}, "--input-size"),
        ((None, 4), {}, "fixed sizes"),
    ],
)
def test_doubt_and_contradiction_have_a_way_out(source, shape, asked, hint):
    with pytest.raises(UsageError) as raised:
        taken(source, shape, **asked)
    assert hint in raised.value.hint
    assert "net.onnx" in raised.value.what


@pytest.mark.parametrize(
    ("shape", "sample"),
    [
        ((3, 8, 6), (3, 8, 6)),
        ((8, 6, 3), (8, 6, 3)),
        ((784, 1), (784, 1)),
        ((784,), (784,)),
        ((3, None, None), None),
    ],
)
def test_a_sample_has_the_shape_that_the_file_takes(source, shape, sample):
    assert taken(source, shape).sample_shape == sample
