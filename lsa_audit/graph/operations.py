"""Which aten operations are layers, and which keep the positions of the neurons. Literal data."""

from __future__ import annotations

from ..records import LayerKind

KINDS: dict[str, LayerKind] = {
    "conv1d": "learnable",
    "conv2d": "learnable",
    "conv3d": "learnable",
    "conv_transpose1d": "learnable",
    "conv_transpose2d": "learnable",
    "conv_transpose3d": "learnable",
    "convolution": "learnable",
    "linear": "learnable",
    "bilinear": "learnable",
    "embedding_bag": "learnable",
    "lstm": "learnable",
    "gru": "learnable",
    "rnn_tanh": "learnable",
    "rnn_relu": "learnable",
    "batch_norm": "norm",
    "_native_batch_norm_legit_functional": "norm",
    "layer_norm": "norm",
    "native_layer_norm": "norm",
    "group_norm": "norm",
    "native_group_norm": "norm",
    "instance_norm": "norm",
    "rms_norm": "norm",
    "scaled_dot_product_attention": "attention",
    "relu": "activation",
    "relu6": "activation",
    "leaky_relu": "activation",
    "prelu": "activation",
    "rrelu": "activation",
    "elu": "activation",
    "selu": "activation",
    "celu": "activation",
    "silu": "activation",
    "gelu": "activation",
    "mish": "activation",
    "glu": "activation",
    "hardswish": "activation",
    "hardsigmoid": "activation",
    "hardtanh": "activation",
    "sigmoid": "activation",
    "log_sigmoid": "activation",
    "tanh": "activation",
    "softplus": "activation",
    "softshrink": "activation",
    "hardshrink": "activation",
    "threshold": "activation",
    "max_pool1d": "pool",
    "max_pool2d": "pool",
    "max_pool3d": "pool",
    "max_pool2d_with_indices": "pool",
    "max_pool3d_with_indices": "pool",
    "avg_pool1d": "pool",
    "avg_pool2d": "pool",
    "avg_pool3d": "pool",
    "adaptive_avg_pool1d": "pool",
    "adaptive_avg_pool2d": "pool",
    "adaptive_avg_pool3d": "pool",
    "adaptive_max_pool1d": "pool",
    "adaptive_max_pool2d": "pool",
    "adaptive_max_pool3d": "pool",
}

SOFTMAX = frozenset({"softmax", "_softmax", "log_softmax", "_log_softmax"})
"""Attention where the result weights a matrix product, else an activation."""

SUMS = frozenset({"add", "addcmul"})
"""A residual addition where two operands depend on the input."""

REDUCTIONS = frozenset({"mean", "amax"})
"""A pool where one or two dimensions of features are reduced and the batch is not."""

MATRIX_PRODUCTS = frozenset({"matmul", "mm", "bmm", "addmm", "baddbmm", "mv", "einsum"})
"""Learnable where one operand is made of parameters and the other depends on the input."""

SHAPE_ONLY = frozenset(
    {
        "sym_size",
        "sym_numel",
        "sym_stride",
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
    }
)
"""Operations whose result does not depend on the values of their operand."""

AFFINE = frozenset({"add", "sub", "mul", "div", "to", "_to_copy", "clone"})
"""They scale and shift where one operand alone depends on the input."""

PASSTHROUGH = frozenset(
    {
        "clone",
        "contiguous",
        "dropout",
        "native_dropout",
        "_to_copy",
        "to",
        "reshape",
        "view",
        "_unsafe_view",
        "expand",
        "permute",
        "transpose",
        "flatten",
        "unflatten",
        "unsqueeze",
        "squeeze",
        "mul",
        "add",
        "div",
        "getitem",
    }
)
"""What may stand between the softmax of an attention and the matrix product that it weights."""
