"""The YAML file beside a model file completes what the user did not say, and nothing else."""

from __future__ import annotations

import pytest

from lsa_audit.errors import ModelError
from lsa_audit.models.request import ModelRequest
from lsa_audit.models.sidecar import with_sidecar


@pytest.fixture
def model(tmp_path):
    return tmp_path / "net.onnx"


def test_without_a_sidecar_the_request_is_as_it_was(model):
    request = ModelRequest(str(model))
    assert with_sidecar(request) is request


def test_a_sidecar_fills_what_is_missing_and_says_so(model):
    model.with_suffix(".yaml").write_text(
        "mean: [0.5, 0.4, 0.3]\nstd: 0.25\ninput_size: 3x32x32\nlayout: nhwc\nclasses: 10\narch: resnet18\n"
    )
    request = with_sidecar(ModelRequest(str(model), std=(1.0,)))
    assert request.mean == (0.5, 0.4, 0.3)
    assert request.std == (1.0,)
    assert (request.input_shape, request.layout, request.classes) == ((3, 32, 32), "nhwc", 10)
    assert request.arch == "resnet18"
    assert request.origin("mean") == "the sidecar net.yaml"
    assert request.origin("std") == "given by the user"


def test_how_photos_are_cropped_and_which_weights_count(model):
    model.with_suffix(".yaml").write_text(
        "crop: 0.875\ninterpolation: bilinear\ncrop_mode: squash\nweights: raw\narch: resnet18\n"
        "model_args: {pad_type: same, img_size: [8, 9]}\n"
    )
    request = with_sidecar(ModelRequest(str(model), interpolation="bicubic", arguments={"pad_type": ""}))
    assert (request.crop_share, request.interpolation, request.crop_mode) == (0.875, "bicubic", "squash")
    assert request.weights == "raw"
    assert request.arguments == {"pad_type": "", "img_size": (8, 9)}


def test_arguments_are_never_for_a_factory(model):
    model.with_suffix(".yaml").write_text("model_args: {a: 1}")
    assert with_sidecar(ModelRequest(str(model), arch="net.py:build")).arguments == {}


def test_a_list_is_an_input_size_too(model):
    model.with_suffix(".yaml").write_text("input_size: [1, 28, 28]")
    assert with_sidecar(ModelRequest(str(model))).input_shape == (1, 28, 28)


def test_it_may_say_the_order_of_classes_and_channels(model):
    model.with_suffix(".yaml").write_text("class_names: [cat, ant]\nchannel_order: bgr\n")
    request = with_sidecar(ModelRequest(str(model)))
    assert (request.class_names, request.channel_order) == (("cat", "ant"), "bgr")
    assert request.origin("channel_order") == "the sidecar net.yaml"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("mean: fast", "mean 'fast' is not understood"),
        ("mean: [true]", "is not understood"),
        ("std: {a: 1}", "is not understood"),
        ("input_size: 3xAx3", "CxHxW"),
        ("crop: 0", "above 0 and up to 1"),
        ("crop: 1.5", "above 0 and up to 1"),
        ("crop: .nan", "above 0 and up to 1"),
        ("interpolation: magic", "write one of nearest"),
        ("crop_mode: border", "write center, squash"),
        ("weights: [ema]", "ema, raw, or the name"),
        ("model_args: {a: {b: 1}}", "plain values"),
        ("model_args: {img_size: 1000000}", "plain values"),
        ("layout: chwn", "nchw, nhwc or flat"),
        ("channel_order: gbr", "rgb or bgr"),
        ("class_names: cat", "a list of different names"),
        ("class_names: [0, 1]", "in quotes where they are numbers"),
        ("class_names: [cat, cat]", "a list of different names"),
        ("classes: 1", "is not understood"),
        ("arch: evil.py:make", "timm name"),
        ("allow_code: true", "allow_code is not a setting"),
        ("a: &a [1]\nmean: *a", "aliases"),
        ("mean: 1\nmean: 2", "repeated key"),
        ("mean: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("- 1", "not a mapping"),
        ("x" * (1 << 20) + "x", "larger than"),
    ],
)
def test_a_sidecar_that_is_wrong_or_hostile_is_one_line(model, content, words):
    model.with_suffix(".yaml").write_text(content)
    with pytest.raises(ModelError, match=r"sidecar net\.yaml") as caught:
        with_sidecar(ModelRequest(str(model)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
