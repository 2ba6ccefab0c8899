"""Settles how a model wants its input: the command line over the metadata of the weights, and checks the result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from ..errors import ModelError, UsageError
from ..records import InputLayout
from .base import Preprocessing
from .request import ModelRequest

NONE_GIVEN = Preprocessing.source
# Wide enough for any affine map of pixels in [0, 1] that is in use, far below constants for pixels in 0..255.
MEAN_RANGE = (-1.0, 2.0)
STD_LIMIT = 2.0


def first_channels(network: nn.Module) -> int | None:
    """What the first 2-d convolution, in the order of the modules, takes; None where there is none."""
    return next((module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d)), None)


def from_config(config: Mapping[str, Any], source: str) -> Preprocessing:
    """Preprocessing from a timm-style configuration; what it does not hold stays at the default.

    Args:
        config: may hold `mean`, `std`, `input_size`, `interpolation`, `crop_pct` and `crop_mode`.
        source: where the configuration came from, in words.

    Raises:
        ModelError: a value that is not a number or not a sequence of them.
    """
    base = Preprocessing()
    try:
        mean, std = (tuple(float(x) for x in config.get(key) or ()) for key in ("mean", "std"))
        input_shape = tuple(int(x) for x in config.get("input_size") or ()) or None
        crop_share = float(config.get("crop_pct") or base.crop_share)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{source} is malformed: {error}", "give --mean, --std and --input-size") from None
    return Preprocessing(
        mean=mean or base.mean,
        std=std or base.std,
        source=source if mean or std else NONE_GIVEN,
        input_shape=input_shape,
        interpolation=str(config.get("interpolation") or base.interpolation),
        crop_share=crop_share,
        crop_mode=str(config.get("crop_mode") or base.crop_mode),
    )


def of_module(network: nn.Module) -> Preprocessing:
    """Preprocessing from the module's own `pretrained_cfg` or `default_cfg`, else the default.

    Raises:
        ModelError: the configuration is malformed.
    """
    for name in ("pretrained_cfg", "default_cfg"):
        config = getattr(network, name, None)
        if config is not None and hasattr(config, "to_dict"):
            config = config.to_dict()
        if isinstance(config, Mapping) and config:
            return from_config(config, f"the network's {name}")
    return Preprocessing()


def settle(request: ModelRequest, metadata: Preprocessing, network: nn.Module) -> Preprocessing:
    """What the request says, over what the weights say.

    Raises:
        UsageError: only one of mean and std for weights that state neither; a value out of range; a wrong number of
            values.
    """
    if (request.mean is None) != (request.std is None) and metadata.source == NONE_GIVEN:
        given, other = ("--mean", "--std") if request.std is None else ("--std", "--mean")
        raise UsageError(f"{given} without {other}, and {request.spec} states no normalisation of its own", "give both")
    settled = replace(
        metadata,
        mean=metadata.mean if request.mean is None else tuple(request.mean),
        std=metadata.std if request.std is None else tuple(request.std),
        source=_source(request, metadata),
        input_shape=metadata.input_shape if request.input_shape is None else tuple(request.input_shape),
        channels=first_channels(network) or metadata.channels,
        interpolation=request.interpolation or metadata.interpolation,
        crop_share=metadata.crop_share if request.crop_share is None else request.crop_share,
        crop_mode=request.crop_mode or metadata.crop_mode,
        layout=_layout(request, metadata),
        channel_order=request.channel_order or metadata.channel_order,
    )
    channels = settled.input_shape[0] if settled.input_shape else settled.channels
    if settled.channel_order == "bgr" and channels not in (None, 3):
        raise UsageError(f"--channel-order bgr is for three channels, and the model takes {channels}", "leave it out")
    _check_shape(settled.input_shape)
    if not 0 < settled.crop_share <= 1:
        raise UsageError(
            f"crop {settled.crop_share:g} is not a share of the image", "give --crop from 0 to 1, e.g. .875"
        )
    _check_values(settled)
    _check_lengths(settled)
    return settled


def _layout(request: ModelRequest, metadata: Preprocessing) -> InputLayout:
    """What the request says, unless the file has told the loader more than that."""
    told = metadata.layout != Preprocessing.layout or metadata.network_shape is not None
    return metadata.layout if told or request.layout is None else request.layout


def _source(request: ModelRequest, metadata: Preprocessing) -> str:
    if request.mean is not None and request.std is not None:
        mean, std = request.origin("mean"), request.origin("std")
        return mean if mean == std else f"mean: {mean}; std: {std}"
    if request.mean is not None:
        return f"mean: {request.origin('mean')}; std: {metadata.source}"
    if request.std is not None:
        return f"std: {request.origin('std')}; mean: {metadata.source}"
    return metadata.source


def _check_shape(shape: tuple[int, ...] | None) -> None:
    if shape is not None and (len(shape) not in (1, 3) or any(size < 1 for size in shape)):
        text = "x".join(str(size) for size in shape) or "nothing"
        raise UsageError(f"input size {text} is not a shape", "write CxHxW, e.g. 3x32x32, or F for feature vectors")


def _check_values(settled: Preprocessing) -> None:
    low, high = MEAN_RANGE
    for name, values in (("mean", settled.mean), ("std", settled.std)):
        shown = ",".join(f"{value:g}" for value in values) or "(empty)"
        if not values or not all(math.isfinite(value) for value in values):
            raise UsageError(f"{name} {shown} is not a list of finite numbers", "write it as .5 or .5,.5,.5")
        if name == "std" and min(values) <= 0:
            raise UsageError(f"std {shown} is not above 0", "give the standard deviation of pixels in [0, 1]")
        if max(values) > (high if name == "mean" else STD_LIMIT):
            raise UsageError(f"{name} {shown} is not for pixels in [0, 1]", "divide values for 0..255 by 255")
        if name == "mean" and min(values) < low:
            raise UsageError(f"mean {shown} is not for pixels in [0, 1]", "give the mean of pixels in [0, 1]")


def _check_lengths(settled: Preprocessing) -> None:
    channels = settled.input_shape[0] if settled.input_shape else settled.channels
    allowed = {1, channels} if channels else {1, max(len(settled.mean), len(settled.std))}
    for name, values in (("mean", settled.mean), ("std", settled.std)):
        if len(values) not in allowed:
            takes = f"the model's channels are {channels}" if channels else "mean and std differ in length"
            what = f"{name} has {len(values)} values ({settled.source}) but {takes}"
            raise UsageError(what, "give --mean and --std with one value each, or one per channel")
