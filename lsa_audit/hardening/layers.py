"""The layers that a regulariser acts on, and how much each weighs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..data.base import Dataset
from ..device.ranks import Ranks
from ..errors import UsageError
from ..graph.base import Graph
from ..graph.select import select
from ..graph.training import TrainedGraph
from ..models.base import Model
from ..settings.recipe import Recipe
from .training.atlr import auto_gammas
from .training.base import TrainingBatch
from .training.bases import BASES
from .training.batches import Batches
from .training.lad import hidden_states
from .training.state import trainable

GAMMA_BATCHES = 4
SHOWN = 5


def names(graph: Graph, recipe: Recipe, vulnerable: Sequence[str]) -> tuple[str, ...]:
    """The layers that the regulariser acts on, in the order of execution.

    Args:
        vulnerable: the most vulnerable layers, where they are asked for.
    """
    if recipe.reg in ("lad-lie", "lad-strang"):
        return hidden_states(graph, recipe.layers)
    if recipe.layers == "mvl":
        return tuple(layer.info.name for layer in graph.layers if layer.info.name in vulnerable)
    pattern = "learnable" if recipe.layers == "all" else recipe.layers
    # A block and its last layer are one value, and would count twice.
    sites: dict[str, str] = {}
    for layer in select(graph.layers, pattern):
        sites.setdefault(layer.site, layer.info.name)
    return tuple(sites.values())


def weights(
    model: Model, graph: Graph, training: Dataset, recipe: Recipe, chosen: Sequence[str], device: torch.device
) -> dict[str, float]:
    """The gamma of each chosen layer: one for all, by name (0 where not named), or measured on a few batches.

    Raises:
        UsageError: a name that is not among the layers.
    """
    if isinstance(recipe.gamma, dict):
        unknown = [name for name in recipe.gamma if name not in chosen]
        if unknown:
            what = f"gamma names {unknown[0]}, which is not among the regularised layers"
            raise UsageError(what, f"these are {', '.join(chosen[:SHOWN])}; choose them with --layers")
        return {name: recipe.gamma.get(name, 0.0) for name in chosen}
    if recipe.gamma != "auto":
        return dict.fromkeys(chosen, recipe.gamma)
    # The perturbation of free starts at 0, where no layer moves.
    examples, objective = BASES["fgsm" if recipe.at == "free" else recipe.at](recipe)
    batches = Batches(training, recipe, Ranks(), device)
    pieces = [batches.step(step)[0] for step in range(min(GAMMA_BATCHES, batches.steps_an_epoch))]
    found = [TrainingBatch(piece.images, piece.labels, piece.draw, recipe.epsilon, 0.0) for piece in pieces]
    with trainable(model, graph):
        return dict(auto_gammas(TrainedGraph(graph, model.module), examples, objective, found, chosen))
