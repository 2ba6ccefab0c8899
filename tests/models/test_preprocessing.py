from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from lsa_audit.errors import ModelError, UsageError
from lsa_audit.models import ModelRequest, Preprocessing
from lsa_audit.models.preprocessing import NONE_GIVEN, first_channels, from_config, of_module, settle

RGB = nn.Sequential(nn.Conv2d(3, 4, 3))
STATED = Preprocessing((0.4, 0.5, 0.6), (0.1, 0.2, 0.3), "metadata", input_shape=(3, 8, 8), interpolation="bilinear")


def settled(metadata: Preprocessing = STATED, network: nn.Module = RGB, **asked: Any) -> Preprocessing:
    return settle(ModelRequest("net", **asked), metadata, network)


def test_metadata_stands_where_nothing_is_asked() -> None:
    assert settled() == Preprocessing(
        STATED.mean, STATED.std, "metadata", input_shape=(3, 8, 8), channels=3, interpolation="bilinear"
    )


def test_the_request_goes_before_the_metadata() -> None:
    result = settled(mean=(0.1,), std=(0.9,), input_shape=(3, 32, 32))
    assert (result.mean, result.std, result.input_shape) == ((0.1,), (0.9,), (3, 32, 32))
    assert result.source == "given by the user"


def test_half_a_request_keeps_the_other_half_of_the_metadata_and_says_so() -> None:
    result = settled(mean=(0.1, 0.2, 0.3))
    assert result.std == STATED.std
    assert result.source == "mean: given by the user; std: metadata"
    assert settled(std=(1.0,)).source == "std: given by the user; mean: metadata"


@pytest.mark.parametrize("given", ["mean", "std"])
def test_half_a_request_needs_metadata(given: str) -> None:
    with pytest.raises(UsageError, match=f"--{given} without"):
        settled(Preprocessing(), **{given: (0.5,)})


BAD = {
    "mean for 0..255": ({"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}, "divide values for 0..255 by 255"),
    "std for 0..255": ({"mean": (0.5,), "std": (58.4,)}, "divide values for 0..255 by 255"),
    "std of zero": ({"mean": (0.5,), "std": (0.2, 0.0, 0.2)}, "is not above 0"),
    "negative std": ({"mean": (0.5,), "std": (-0.2,)}, "is not above 0"),
    "mean far below": ({"mean": (-4.0,), "std": (0.2,)}, "not for pixels in"),
    "not a number": ({"mean": (float("nan"),), "std": (0.2,)}, "finite"),
    "infinite": ({"mean": (0.5,), "std": (float("inf"),)}, "finite"),
    "no values": ({"mean": (), "std": (0.2,)}, "finite"),
    "two of three": ({"mean": (0.5, 0.5), "std": (0.2,)}, "mean has 2 values"),
    "four of three": ({"mean": (0.5,), "std": (0.2,) * 4}, "std has 4 values"),
    "two dimensions": ({"input_shape": (32, 32)}, "input size 32x32"),
    "zero size": ({"input_shape": (3, 0, 32)}, "input size 3x0x32"),
    "no dimensions": ({"input_shape": ()}, "input size nothing"),
}


@pytest.mark.parametrize(("asked", "words"), BAD.values(), ids=BAD)
def test_bad_values_are_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settled(**asked)


def test_unequal_lengths_are_refused_where_the_channels_are_unknown() -> None:
    with pytest.raises(UsageError, match="differ in length"):
        settled(Preprocessing(), nn.Linear(4, 2), mean=(0.1, 0.2, 0.3), std=(0.1, 0.2))
    assert settled(Preprocessing(), nn.Linear(4, 2), mean=(0.1, 0.2, 0.3), std=(0.5,)).std == (0.5,)


def test_config_fills_what_it_holds() -> None:
    config = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "input_size": (3, 64, 48), "crop_pct": 0.9}
    result = from_config(config, "a file")
    assert (result.mean, result.input_shape, result.crop_share) == ((0.5, 0.5, 0.5), (3, 64, 48), 0.9)
    assert result.source == "a file"
    assert from_config({"input_size": (3, 8, 8)}, "a file").source == NONE_GIVEN
    with pytest.raises(ModelError, match="a file is malformed"):
        from_config({"mean": "half"}, "a file")


def test_module_configs_are_read_as_mapping_or_object() -> None:
    network = nn.Linear(2, 2)
    assert of_module(network) == Preprocessing()
    network.default_cfg = {"mean": (0.1,), "std": (0.2,)}  # type: ignore[assignment]
    assert of_module(network).source == "the network's default_cfg"
    network.pretrained_cfg = SimpleNamespace(to_dict=lambda: {"mean": (0.3,), "std": (0.4,)})  # type: ignore[assignment]
    assert of_module(network).mean == (0.3,)


def test_channels_come_from_the_first_convolution() -> None:
    assert first_channels(nn.Sequential(nn.Linear(2, 2), nn.Conv2d(5, 2, 1), nn.Conv2d(2, 3, 1))) == 5
    assert first_channels(nn.Linear(2, 2)) is None


def test_layout_and_channel_order_are_as_asked_unless_the_file_knows_better() -> None:
    result = settled(layout="nhwc", channel_order="bgr")
    assert (result.layout, result.channel_order) == ("nhwc", "bgr")
    assert settled(Preprocessing(layout="flat"), layout="nchw").layout == "flat"
    assert settled(Preprocessing(network_shape=(784, 1)), layout="nhwc").layout == "nchw"


def test_only_three_channels_have_an_order() -> None:
    gray = nn.Sequential(nn.Conv2d(1, 4, 3))
    with pytest.raises(UsageError, match="is for three channels, and the model takes 1"):
        settled(Preprocessing(), gray, channel_order="bgr")
