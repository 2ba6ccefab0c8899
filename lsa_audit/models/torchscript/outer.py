"""The ordinary operations behind those inner ones that a trace holds in their place.

The inner convolution has no layer of its own; attention and encoder layers, which PyTorch fuses where no gradient is
asked for, have no derivative.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

ATTENTION_MASK, PADDING_MASK = 0, 1
"""How PyTorch numbers what a mask is for; it fuses no third kind on its own."""
CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}
TRANSPOSED = {3: functional.conv_transpose1d, 4: functional.conv_transpose2d, 5: functional.conv_transpose3d}
"""By the dimensions of the weight."""


def convolution(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    *_: bool,
) -> Tensor:
    """`aten::_convolution`."""
    if transposed:
        transpose = TRANSPOSED[weight.dim()]
        return transpose(images, weight, bias, stride, padding, output_padding, groups, dilation)
    return plain_convolution(images, weight, bias, stride, padding, dilation, groups)


def plain_convolution(images: Tensor, weight: Tensor, *settings: Any) -> Tensor:
    """`aten::_convolution_mode`; the settings are those of the outer operation."""
    return CONVOLUTIONS[weight.dim()](images, weight, *settings)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    width: int,
    heads: int,
    in_weight: Tensor,
    in_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`aten::_native_multi_head_attention`: [N, S, E] -> [N, S, E] and the attention, where it is asked for."""
    output, weights = functional.multi_head_attention_forward(
        query.transpose(0, 1),
        key.transpose(0, 1),
        value.transpose(0, 1),
        width,
        heads,
        in_weight,
        in_bias,
        None,
        None,
        False,
        0.0,
        out_weight,
        out_bias,
        training=False,
        key_padding_mask=mask if mask_type == PADDING_MASK else None,
        need_weights=need_weights,
        attn_mask=mask if mask_type == ATTENTION_MASK else None,
        average_attn_weights=average_weights,
    )
    return output.transpose(0, 1), weights


def encoder_layer(
    tokens: Tensor,
    width: int,
    heads: int,
    in_weight: Tensor,
    in_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    epsilon: float,
    norm_weight: Tensor,
    norm_bias: Tensor,
    second_norm_weight: Tensor,
    second_norm_bias: Tensor,
    wide_weight: Tensor,
    wide_bias: Tensor,
    narrow_weight: Tensor,
    narrow_bias: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """`aten::_transformer_encoder_layer_fwd`: [N, S, E] -> [N, S, E]."""

    def attended(x: Tensor) -> Tensor:
        projections = (in_weight, in_bias, out_weight, out_bias)
        return attention(x, x, x, width, heads, *projections, mask, need_weights=False, mask_type=mask_type)[0]

    def first_norm(x: Tensor) -> Tensor:
        return functional.layer_norm(x, (width,), norm_weight, norm_bias, epsilon)

    def second_norm(x: Tensor) -> Tensor:
        return functional.layer_norm(x, (width,), second_norm_weight, second_norm_bias, epsilon)

    def widened(x: Tensor) -> Tensor:
        wide = functional.linear(x, wide_weight, wide_bias)
        wide = functional.gelu(wide) if use_gelu else functional.relu(wide)
        return functional.linear(wide, narrow_weight, narrow_bias)

    if norm_first:
        tokens = tokens + attended(first_norm(tokens))
        return tokens + widened(second_norm(tokens))
    tokens = first_norm(tokens + attended(tokens))
    return second_norm(tokens + widened(tokens))
