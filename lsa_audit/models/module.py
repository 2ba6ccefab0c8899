"""A network that the caller already holds in memory."""

from __future__ import annotations

from torch import nn

from ..errors import ModelError
from ..records import ChannelOrder, InputLayout
from .base import Model, PixelModel
from .deciding import OutputOptions, OutputsAre
from .preprocessing import of_module, settle
from .request import ModelRequest
from .unfilled import check_filled
from .widening import copied_in_float32


def from_module(
    network: nn.Module,
    *,
    name: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_shape: tuple[int, ...] | None = None,
    logits: str | None = None,
    outputs_are: OutputsAre | None = None,
    crop_share: float | None = None,
    interpolation: str | None = None,
    layout: InputLayout | None = None,
    channel_order: ChannelOrder | None = None,
) -> Model:
    """The Model around the caller's own network, which is neither copied nor changed.

    The network keeps its training flags; whoever runs it does so inside `models.state.preserved`.

    Args:
        network: images [N, C, H, W] or [N, F] to logits or probabilities [N, K].
        name: for people and the record; the class name if None.
        mean, std: per channel or one number for all, on pixels in [0, 1]; None takes the network's `pretrained_cfg` or
            `default_cfg`, else the pixels go in unchanged.
        input_shape: (C, H, W) or (F,); None leaves it to the data.
        logits, outputs_are: see `ModelRequest`.
        crop_share, interpolation: of photos that are resized; None takes the network's own, as for mean and std.
        layout, channel_order: how the network wants an image; None: NCHW, RGB.

    Raises:
        ModelError: not an nn.Module, or one whose parameters hold no values (lazy, on the meta device).
        UsageError: a wrong mean, std or input shape.
    """
    if not isinstance(network, nn.Module):
        raise ModelError(f"the model is a {type(network).__name__}, not an nn.Module", "give a module or a name")
    label = name or type(network).__name__
    check_filled(network, label)
    given = {"input size": input_shape, "layout": layout, "channel order": channel_order}
    request = ModelRequest(
        spec=label,
        mean=mean,
        std=std,
        input_shape=input_shape,
        layout=layout,
        channel_order=channel_order,
        crop_share=crop_share,
        interpolation=interpolation,
    )
    preprocessing = settle(request, of_module(network), network)
    return Model(
        name=label,
        source="module",
        architecture=type(network).__name__,
        weights="as given in memory",
        module=PixelModel(network, preprocessing),
        preprocessing=preprocessing,
        asked=OutputOptions(logits=logits, outputs_are=outputs_are),
        provenance={what: "given by the user" for what, value in given.items() if value is not None},
        finish=copied_in_float32,
    )
