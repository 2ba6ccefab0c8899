"""What is trained: the graph that the audit looks at, or the module itself where the two would learn differently."""

from __future__ import annotations

from torch import Tensor

from ..errors import ModelError
from ..graph.base import Graph
from ..graph.training_fidelity import TrainingGraph, choose_trainee, without_momentum
from ..graph.walker import no_backward
from ..models.base import Model
from ..progress import Progress
from ..records.hardening import Trainee
from ..settings.recipe import Recipe

SHOWN = 5


def trainee_of(model: Model, graph: Graph, images: Tensor, recipe: Recipe, progress: Progress) -> tuple[Graph, Trainee]:
    """The graph to train, with what is said of it on the screen and in the record.

    Args:
        graph: of the model, walked.
        images: [N >= 3, ...], on the device of the model.

    Raises:
        ModelError: the model gives no gradients, or its batch norms could learn nothing.

    Cost: see `choose_trainee`.
    """
    failed = no_backward(graph)
    if failed:
        raise ModelError(f"{model.name} cannot be trained: its backward fails: {failed}", "fix its backward")
    chosen = choose_trainee(model, graph, images, recipe.bn)
    silent = without_momentum(chosen.graph) if recipe.bn == "train" and model.conversion is not None else ""
    if silent:
        what = f"{silent} has no momentum in the file, so that its statistics could not follow the training"
        raise ModelError(what, "give --bn frozen, or harden the original model")
    _tell(model, chosen, recipe, progress)
    told = Trainee(module=chosen.own, reason=chosen.reason, left_alone=chosen.idle, checks=chosen.checks)
    return chosen.graph, told


def _tell(model: Model, chosen: TrainingGraph, recipe: Recipe, progress: Progress) -> None:
    if chosen.own:
        progress.message(f"trains {model.name}'s own modules, not its exported graph: {chosen.reason}")
        if recipe.compile:
            progress.message("--compile has no effect on them")
    elif chosen.reason:
        progress.message(chosen.reason)
    if chosen.idle and chosen.own:
        more = f" and {len(chosen.idle) - SHOWN} more" if len(chosen.idle) > SHOWN else ""
        progress.message(f"left alone, as the model gives them no gradient: {', '.join(chosen.idle[:SHOWN])}{more}")
        if recipe.bn == "train":
            progress.message("batch norms take in new statistics all the same, as in torch; --bn frozen keeps them")
