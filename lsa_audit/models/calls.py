"""The names of torch's calls, by what they do to the values of a network's outputs."""

from __future__ import annotations

from typing import Literal

Activation = Literal["sigmoid", "softmax", "log-sigmoid", "log-softmax", "argmax", "squash"]

ACTIVATIONS: dict[str, Activation] = {
    **dict.fromkeys(("sigmoid", "sigmoid_", "expit", "special_expit"), "sigmoid"),
    **dict.fromkeys(("softmax", "_softmax", "special_softmax"), "softmax"),
    **dict.fromkeys(("log_softmax", "_log_softmax", "special_log_softmax"), "log-softmax"),
    **dict.fromkeys(("logsigmoid", "log_sigmoid"), "log-sigmoid"),
    "argmax": "argmax",
}
"""By the name of the call, whether it is Python's or the operation's."""

SHAPES = frozenset(
    {
        *("squeeze", "squeeze_", "unsqueeze", "unsqueeze_", "flatten", "reshape", "_reshape_copy", "view", "view_copy"),
        *("_unsafe_view", "contiguous", "clone", "alias", "detach", "permute", "transpose", "t", "movedim", "moveaxis"),
        *("select", "slice", "narrow", "__getitem__", "getitem", "expand", "__get__"),
    }
)
"""Calls that only move entries: the same call on the logits gives the logits of what it returns."""

CASTS = frozenset({"to", "float", "double", "half", "bfloat16", "type", "type_as", "_to_copy", "cpu", "cuda"})
SCALINGS = frozenset({"mul", "mul_", "__mul__", "__rmul__", "multiply", "div", "div_", "__truediv__", "true_divide"})
DIVISIONS = frozenset({"div", "div_", "divide", "__truediv__", "true_divide"})
CLIPS = frozenset({"clamp", "clip", "clamp_", "clip_", "clamp_min", "clamp_max"})
JOINS = frozenset({"cat", "concat", "concatenate", "hstack", "stack"})
LOGARITHMS: dict[Activation, Activation] = {"sigmoid": "log-sigmoid", "softmax": "log-softmax"}
CLIPPED = 1e-3
"""A clip of probabilities to [c, 1 - c] decides nothing for c up to this."""

LINEAR = frozenset({"linear", "addmm", "bilinear", "conv1d", "conv2d", "conv3d", "convolution", "_convolution"})
"""Calls whose results have no bounds: an output that one of them makes is a logit."""

NORMS = frozenset({"norm", "vector_norm", "linalg_vector_norm", "linalg_norm"})
POSITIVE = NORMS | {
    "sigmoid",
    "softmax",
    "_softmax",
    "hardsigmoid",
    "exp",
    "softplus",
    "relu",
    "relu6",
    "abs",
    "square",
}
"""Calls whose results are never below 0."""
REDUCTIONS = frozenset({"sum", "mean", "amax", "sqrt", "clamp_min", "clamp", "clip", "add", "maximum", "pow"})
"""Calls that make nothing below 0 of what is not, with numbers that are not."""
EXPANSIONS = frozenset({"expand", "expand_as"})
BEHIND_FACTORS = frozenset({"log", "log_", "log2", "log10", "sqrt", "exp"})
