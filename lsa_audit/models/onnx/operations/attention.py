"""Attention of opset 23."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .base import Node, Operation


def attention(
    node: Node, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, *cache: object
) -> Tensor:
    """Attention on [N, heads, length, features], or on [N, length, heads * features] with the heads as attributes.

    Written out rather than fused, so that the softmax is a layer of its own.

    Raises:
        NotImplementedError: keys and values come from a cache too.
    """
    if any(part is not None for part in cache):
        raise NotImplementedError("a cache of keys and values")
    flat = queries.dim() == 3
    if flat:
        own, shared = node.integer("q_num_heads", 1), node.integer("kv_num_heads", 1)
        queries, keys, values = _heads(queries, own), _heads(keys, shared), _heads(values, shared)
    groups = queries.shape[1] // keys.shape[1]
    if groups > 1:
        keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
    scale = math.sqrt(node.number("scale", 1 / math.sqrt(queries.shape[-1])))
    scores = (queries * scale) @ (keys * scale).transpose(-2, -1)
    cap = node.number("softcap", 0.0)
    if cap:
        scores = cap * torch.tanh(scores / cap)
    if node.integer("is_causal", 0):
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(ahead, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    mixed = scores.softmax(-1) @ values
    return mixed.transpose(1, 2).flatten(2) if flat else mixed


def _heads(values: Tensor, count: int) -> Tensor:
    return values.reshape(*values.shape[:2], count, -1).transpose(1, 2)


ATTENTION: Mapping[str, Operation] = {
    "Attention": Operation(attention, refuses=lambda node: "a cache of keys and values" if any(node.used[1:]) else "")
}
