"""Refuses a training in which a batch norm would take its statistics from a single image."""

from __future__ import annotations

from torch import fx, nn

from ..device.ranks import Ranks
from ..errors import UsageError
from ..graph.base import Graph
from ..graph.structure import operation
from ..settings.recipe import Recipe


def refuse_single_images(graph: Graph, module: nn.Module, images: int, recipe: Recipe, ranks: Ranks) -> None:
    """Refuse forwards of one image where batch norms learn: its own mean and variance are no statistics of images.

    What is left over at the end of an epoch is dropped, so that all forwards of a training have the same size.

    Args:
        graph, module: of the model.
        images: that are trained on.

    Raises:
        UsageError: each forward would hold one image.
    """
    parts = ranks.size * recipe.accumulate
    share = min(recipe.batch_size, images) // parts
    if share != 1 or recipe.bn != "train" or not _has_batch_norms(graph, module):
        return
    if images < 2 * parts or recipe.batch_size >= 2 * parts:
        way_out = "give more images"
    else:
        way_out = f"give --batch-size {2 * parts} or more"
    among = "" if parts == 1 else f", divided into {parts} parts"
    raise UsageError(
        f"a batch of {min(recipe.batch_size, images)}{among} leaves one image in each forward, from which batch norm "
        "can learn no statistics",
        f"{way_out}, or --bn frozen",
    )


def _has_batch_norms(graph: Graph, module: nn.Module) -> bool:
    """In the graph, or as modules where the model runs under hooks."""
    if any(isinstance(child, nn.modules.batchnorm._BatchNorm) for child in module.modules()):
        return True
    if not isinstance(graph.module, fx.GraphModule):
        return False
    return any("batch_norm" in operation(node) for node in graph.module.graph.nodes)
