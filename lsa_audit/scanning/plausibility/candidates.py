"""The usual other readings of images, and the network with one of them in front of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...models.base import Model, PixelModel
from ...models.preprocessing import NONE_GIVEN
from ...records.plausibility import Reading
from ...units import PIXEL_LEVELS

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = ((103.939 / PIXEL_LEVELS, 116.779 / PIXEL_LEVELS, 123.68 / PIXEL_LEVELS), (1 / PIXEL_LEVELS,))
CENTRED = ((0.5,), (0.5,))
FULL = ((0.0,), (1 / PIXEL_LEVELS,))
OF_IMAGENET = "mean and standard deviation of ImageNet"
IN_CENTRE = "pixels in [-1, 1]"

LOST = 128 / PIXEL_LEVELS
"""Largest pixel value of all images below which white may have been elsewhere."""

Values = tuple[tuple[float, ...], tuple[float, ...]]
Pixels = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Candidate:
    """A change of how images reach the network.

    Attributes:
        values: mean and standard deviation, where they change.
        attributes: of `PixelModel`, that change.
        pixels: what happens to the images before, [N, ...] to the same shape; None for data as they are.
        rare: two changes, or figures that are made of the images themselves.
    """

    reading: Reading
    change: str
    options: str
    values: Values | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    pixels: Pixels | None = None
    rare: bool = False


def candidates(model: Model, images: Tensor, largest: float, *, suspicious: bool) -> list[Candidate]:
    """What nothing states, in the order in which it is common. A normalisation from metadata comes with RGB.

    Args:
        images: a sample, float32 in [0, 1].
        largest: pixel value of all images.
        suspicious: so few images are right that the images themselves may be damaged.
    """
    wanted = model.preprocessing
    three = images.dim() == 4 and images.shape[1] == 3
    # Gray images in three channels look the same in any order.
    colour = three and not torch.equal(images[:, 0], images[:, 2])
    unstated = wanted.source == NONE_GIVEN
    from_user = unstated or "given by the user" in wanted.source
    turned = {"channel_order": "bgr"}
    found = _stretched(largest, unstated=unstated, three=three) if 0 < largest <= LOST else []
    if unstated:
        if three:
            found.append(_normalised(OF_IMAGENET, IMAGENET))
        found.append(_normalised(IN_CENTRE, CENTRED))
    channels_unstated = colour and from_user and "channel order" not in model.provenance
    if channels_unstated:
        found.append(Candidate("channel order", "channels as BGR", "--channel-order bgr", attributes=turned))
    if unstated:
        found.append(_normalised("pixels in 0..255", FULL, "--mean 0 --std 1/255"))
        found.append(_normalised("the images' own mean and standard deviation", _own(images), rare=True))
    if unstated and channels_unstated:
        caffe = "--mean 103.939/255,116.779/255,123.68/255 --std 1/255"
        for what, values, options in (
            ("in 0..255 less the mean of ImageNet", CAFFE, caffe),
            ("in 0..255", FULL, "--mean 0 --std 1/255"),
            (f"with {OF_IMAGENET}", IMAGENET, _options(IMAGENET)),
            ("in [-1, 1]", CENTRED, _options(CENTRED)),
        ):
            change, said = f"channels as BGR {what}", f"--channel-order bgr {options}"
            found.append(Candidate("channel order", change, said, values, turned, rare=True))
    if three and wanted.layout == "nchw" and wanted.network_shape is None and "layout" not in model.provenance:
        found.append(Candidate("layout", "images laid out as NHWC", "--layout nhwc", attributes={"layout": "nhwc"}))
    return found + (_damaged(images, colour=colour) if suspicious else [])


def _stretched(largest: float, *, unstated: bool, three: bool) -> list[Candidate]:
    """Images whose white is far below 1, with white at 1."""

    def stretch(images: Tensor) -> Tensor:
        return (images / largest).clamp(max=1)

    change = "the pixels stretched to [0, 1]"
    found = [Candidate("pixel range", change, "", pixels=stretch)]
    if unstated:
        usual = [(OF_IMAGENET, IMAGENET)] if three else []
        for what, values in (*usual, (IN_CENTRE, CENTRED)):
            found.append(Candidate("pixel range", f"{change}, and {what}", _options(values), values, pixels=stretch))
    return found


def _damaged(images: Tensor, *, colour: bool) -> list[Candidate]:
    """What goes wrong when images are saved, whatever the network wants."""
    if images.dim() != 4:
        return []
    channels, height, width = images.shape[1:]
    found = [Candidate("pixel range", "inverted pixels, 1 - x", "", pixels=lambda images: 1 - images)]
    if height == width > 1:
        change = "rows and columns of the images swapped"
        found.append(Candidate("pixel order", change, "", pixels=lambda images: images.transpose(2, 3)))
    if colour:

        def planes(images: Tensor) -> Tensor:
            return images.permute(0, 2, 3, 1).reshape(images.shape)

        def pixels(images: Tensor) -> Tensor:
            return images.reshape(-1, height, width, channels).permute(0, 3, 1, 2)

        change = "the images' numbers read as"
        found.append(Candidate("pixel order", f"{change} one channel after the other", "", pixels=planes))
        found.append(Candidate("pixel order", f"{change} one pixel after the other", "", pixels=pixels))
    return found


def _normalised(change: str, values: Values, options: str | None = None, *, rare: bool = False) -> Candidate:
    return Candidate("normalisation", change, options or _options(values), values, rare=rare)


def _options(values: Values) -> str:
    mean, std = (",".join(f"{value:.4g}".replace("0.", ".", 1) for value in part) for part in values)
    return f"--mean {mean} --std {std}"


def _own(images: Tensor) -> Values:
    """Mean and standard deviation per channel, rounded as the options show them; of vectors one number for all."""
    flat = images.transpose(0, 1).flatten(1) if images.dim() == 4 else images.reshape(1, -1)
    mean, std = flat.double().mean(1), flat.double().std(1).clamp_min(0.001)
    return tuple(round(value, 3) for value in mean.tolist()), tuple(round(value, 3) for value in std.tolist())


def changed(module: PixelModel, candidate: Candidate) -> PixelModel:
    """A second front of the same network; the first and the network itself stay as they are."""
    front = copy.copy(module)
    front.__dict__ = {**module.__dict__, "_buffers": dict(module._buffers), **candidate.attributes}
    if candidate.values is not None:
        for name, value in zip(("mean", "std"), candidate.values, strict=True):
            front._buffers[name] = torch.tensor(value, dtype=module.mean.dtype, device=module.mean.device)
    return front
