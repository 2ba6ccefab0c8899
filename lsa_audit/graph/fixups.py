"""Repairs on an exported graph: batch norm is one operation again, views do not depend on strides, guards are gone."""

from __future__ import annotations

import operator

import torch
from torch import fx

from .biases import join_biases
from .structure import arguments, operation

VIEWS = frozenset({"view", "_unsafe_view"})
"""Specialised to the strides seen at export; `reshape` runs on any device and attention backend."""

CHECKS = frozenset(
    {
        "_assert_tensor_metadata",
        "_assert_scalar",
        "_assert_async",
        "sym_constrain_range",
        "sym_constrain_range_for_size",
    }
)

BATCH_NORMS = frozenset({"_native_batch_norm_legit_no_training", "_native_batch_norm_legit"})


def repair(module: fx.GraphModule) -> fx.GraphModule:
    """A fresh GraphModule over the same parameters, which unlike the exported one has an ordinary `train()`."""
    graph = module.graph
    for node in list(graph.nodes):
        name = operation(node)
        if name in VIEWS:
            node.target = torch.ops.aten.reshape.default
        elif name in BATCH_NORMS:
            _fuse(graph, node)
        elif name in CHECKS and not node.users:
            graph.erase_node(node)
    join_biases(graph)
    graph.eliminate_dead_code()
    graph.lint()
    return fx.GraphModule(module, graph)


def _fuse(graph: fx.Graph, node: fx.Node) -> None:
    """Replace a batch norm that returns (output, mean, rstd) by the one that returns its output."""
    if any(user.target is not operator.getitem or user.args[1] != 0 for user in node.users if user.users):
        return
    named = arguments(node)
    statistics = (named.get("running_mean"), named.get("running_var"))
    training = bool(named.get("training", False))
    if training and statistics != (None, None):
        return
    operands = (named["input"], named.get("weight"), named.get("bias"), *statistics)
    settings = (statistics == (None, None), named["momentum"], named["eps"], False)
    with graph.inserting_before(node):
        fused = graph.call_function(torch.ops.aten.batch_norm.default, (*operands, *settings))
    for user in list(node.users):
        if not fused.meta:
            fused.meta = dict(user.meta)
        user.replace_all_uses_with(fused)
        graph.erase_node(user)
    graph.erase_node(node)
