"""Operations that do not check the sizes of their operands, with the checks that they lack.

In torch 2.15 on a CPU each of them reads or writes beyond its operands when their sizes disagree; torch's own modules
and functions look before they call. A file may call the operations themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def lstm(
    input: Tensor,  # noqa: A002 - the operation's own name for it
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    """aten::lstm.input with states [layers, N, H] and weights of the sizes that it reads.

    Raises:
        ValueError, RuntimeError: the sizes of weights or states disagree.
    """
    hidden = params[1].shape[1]
    directions = 2 if bidirectional else 1
    width = input.shape[-1]
    expected = []
    for layer in range(num_layers):
        taken = width if layer == 0 else hidden * directions
        one = [(4 * hidden, taken), (4 * hidden, hidden), *([(4 * hidden,)] * 2 if has_biases else [])]
        expected += one * directions
    sizes = [tuple(parameter.shape) for parameter in params]
    if sizes != expected or input.dim() != 3 or any(state.dim() != 3 or state.shape[2] != hidden for state in hx):
        raise ValueError("the sizes of an LSTM's weights or states disagree")
    # Not compared but reshaped, so that a graph that is traced from here holds the check for every other batch.
    count = input.shape[0 if batch_first else 1]
    states = [state.reshape(num_layers * directions, count, hidden) for state in hx]
    settings = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
    return torch.ops.aten.lstm.input(input, states, params, *settings)


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """aten::_weight_norm by other operations: v / |v| * g, with norms over all dimensions but `dim`.

    Raises:
        ValueError: g has another size than the norms.
    """
    return _weight_norm_interface(v, g, dim)[0]


def _weight_norm_interface(v: Tensor, g: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    others = [other for other in range(v.dim()) if other != dim]
    norms = torch.linalg.vector_norm(v, dim=others, keepdim=dim >= 0)
    if g.shape != norms.shape:
        raise ValueError("the size of a weight norm's g is not that of the norms")
    return v * (g / norms), norms


def batch_norm(
    input: Tensor,  # noqa: A002 - the operation's own name for it
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, None, None]:
    """The native batch norms, which return statistics beside their output; inference has no use for those."""
    statistics = (running_mean, running_var, training or running_mean is None)
    output = torch.ops.aten.batch_norm.default(input, weight, bias, *statistics, momentum, eps, False)
    return output, None, None


def attention(query: Tensor, key: Tensor, value: Tensor, *settings: Any, **named: Any) -> Tensor:
    """aten::scaled_dot_product_attention with as many keys as values.

    Raises:
        ValueError: the sizes disagree.
    """
    if key.shape[-2] != value.shape[-2]:
        raise ValueError("attention has another number of keys than of values")
    output: Tensor = torch.ops.aten.scaled_dot_product_attention.default(query, key, value, *settings, **named)
    return output


def _attention_on_cpu(
    query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0, is_causal: bool = False, **named: Any
) -> tuple[Tensor, None]:
    return attention(query, key, value, dropout_p=dropout_p, is_causal=is_causal, **named), None


CHECKED: dict[str, Callable[..., Any]] = {
    "lstm.input": lstm,
    "_weight_norm.default": weight_norm,
    "_weight_norm_interface.default": _weight_norm_interface,
    "native_batch_norm.default": batch_norm,
    "_native_batch_norm_legit.default": batch_norm,
    "_native_batch_norm_legit.no_stats": batch_norm,
    "_native_batch_norm_legit_no_training.default": batch_norm,
    "scaled_dot_product_attention.default": attention,
    "_scaled_dot_product_flash_attention_for_cpu.default": _attention_on_cpu,
}
"""Name and overload of an operation -> what to call in its place, with the same arguments."""
