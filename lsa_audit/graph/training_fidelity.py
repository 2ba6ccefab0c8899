"""Holds one training step of a graph against the same step of the module itself, and chooses which of them is trained.

An export in eval mode may lose what only training shows: custom backwards, regions without gradients, batch norms that
average over all batches, dropout. The module itself has all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn

from ..models.base import Model
from ..models.state import preserved
from ..records import GraphCheck
from .base import Graph
from .batch_layout import probe_images
from .fidelity import OWN
from .hooked import describe_hooked
from .structure import NETWORK, operation
from .training import BatchNorm, TrainedGraph, in_training

IMAGES = 8
VALUE_TOLERANCE = 1e-4
GRADIENT_TOLERANCE, GRADIENT_FLOOR = 1e-3, 1e-5
"""Of a parameter's own gradient, and of the whole one: a bias in front of a batch norm has nothing but rounding."""

MOMENTUM_ARGUMENT = 6
SHOWN = 3


@dataclass(frozen=True)
class TrainingGraph:
    """What is trained.

    Attributes:
        graph: the exported one, or the module itself seen through hooks.
        checks: one step of the graph against one of the module.
        reason: why the module itself is trained, or what could not be compared; empty for neither.
        idle: parameters, by the names in the network, that the model's own forward gives no gradient.
    """

    graph: Graph
    checks: tuple[GraphCheck, ...]
    reason: str
    idle: tuple[str, ...]

    @property
    def own(self) -> bool:
        """Whether the module itself is trained."""
        return not isinstance(self.graph.module, fx.GraphModule)


@dataclass(frozen=True)
class _Step:
    """What one forward and backward left: logits, gradients (None where there is none), and float buffers."""

    logits: Tensor
    gradients: Mapping[str, Tensor | None]
    statistics: Mapping[str, Tensor]


def choose_trainee(model: Model, graph: Graph, images: Tensor, batch_norm: BatchNorm) -> TrainingGraph:
    """The graph where a training step of it is one of the module, else the module itself.

    A network that was made from a file has no training mode of its own: its graph, which is switched to training, is
    held against it in eval mode.

    Args:
        graph: of the model, walked.
        images: [N >= 3, ...]; at most 8 are used.

    Cost: up to three forwards and backwards on 8 images, and a copy of the gradients of each.
    """
    module, images = model.module, images[:IMAGES]
    with preserved(module), torch.enable_grad():
        for parameter in module.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        evaluated = _step(module, lambda: module(images))
        trained = None if model.conversion is not None else _trained(module, images, batch_norm)
        idle = _idle(module, evaluated, trained)
        if not isinstance(graph.module, fx.GraphModule):
            why = next((entry.detail for entry in graph.info.skipped), "it cannot be exported")
            return TrainingGraph(replace(graph, idle=frozenset(idle)), (), why, idle)
        trainee = TrainedGraph(graph, module, batch_norm)
        found = _step(module, lambda: trainee.forward(images, training=trained is not None).answer)
        checks, reason = _compare(trained or evaluated, found, idle)
        if not reason:
            note = "" if trained is not None else UNTRIED if model.conversion is None else OF_A_FILE
            return TrainingGraph(graph, checks, note, idle)
        hooked = describe_hooked(module, probe_images(images), [*graph.info.skipped])
        return TrainingGraph(replace(hooked, idle=frozenset(idle)), checks, reason, idle)


UNTRIED = "the model's own forward fails in training mode, so its exported graph is trained; compared in eval mode only"
OF_A_FILE = "the file holds the network for evaluation; its gradients were compared in that mode only"


def without_momentum(graph: Graph) -> str:
    """Name of a layer whose batch norm can learn nothing in training, as a file holds it; empty for none."""
    if not isinstance(graph.module, fx.GraphModule):
        return ""
    for node in graph.module.graph.nodes:
        if operation(node) == "batch_norm" and node.args[3] is not None and not node.args[MOMENTUM_ARGUMENT]:
            return next((layer.info.name for layer in graph.layers if layer.site == node.name), node.name)
    return ""


def _trained(module: nn.Module, images: Tensor, batch_norm: BatchNorm) -> _Step | None:
    """One step of the module in training mode; None where its forward then wants or returns something else."""
    try:
        with in_training(module, batch_norm):
            return _step(module, lambda: module(images))
    except Exception:  # noqa: BLE001 - it is the user's code
        return None


def _step(module: nn.Module, forward: Callable[[], Tensor]) -> _Step:
    """One forward and backward from the present buffers, which stay as they are."""
    buffers = dict(module.named_buffers())
    before = {name: value.clone() for name, value in buffers.items()}
    parameters = {name: entry for name, entry in module.named_parameters() if entry.requires_grad}
    torch.manual_seed(0)
    try:
        logits = forward()
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).to(logits)
        if logits.requires_grad:
            torch.autograd.backward((logits * weights).sum())
        gradients = {name: None if entry.grad is None else entry.grad.clone() for name, entry in parameters.items()}
        after = {name: value.detach().clone() for name, value in module.named_buffers() if value.is_floating_point()}
        return _Step(logits.detach(), gradients, after)
    finally:
        for parameter in parameters.values():
            parameter.grad = None
        with torch.no_grad():
            for name, value in before.items():
                buffers[name].copy_(value)


def _idle(module: nn.Module, evaluated: _Step, trained: _Step | None) -> tuple[str, ...]:
    steps = [step for step in (evaluated, trained) if step is not None]
    names = [name for name, entry in module.named_parameters() if entry.requires_grad]
    return tuple(
        name.removeprefix(f"{NETWORK}.") for name in names if all(step.gradients[name] is None for step in steps)
    )


def _compare(own: _Step, found: _Step, idle: tuple[str, ...]) -> tuple[tuple[GraphCheck, ...], str]:
    """The checks, and in words what differs; empty for nothing."""
    logits = _apart(own.logits, found.logits)
    statistics = {name: _apart(value, found.statistics[name]) for name, value in own.statistics.items()}
    whole = _length(own.gradients.values())
    gradients = {name: _gradient_apart(value, found.gradients[name], whole) for name, value in own.gradients.items()}
    added = [name for name in idle if found.gradients[f"{NETWORK}.{name}"] is not None]
    worst = {"gradients": max(gradients.values(), default=0.0), "statistics": max(statistics.values(), default=0.0)}
    checks = (
        _check("training logits", 1, logits, VALUE_TOLERANCE),
        _check("parameter gradients", len(gradients), worst["gradients"], GRADIENT_TOLERANCE),
        _check("batch statistics", len(statistics), worst["statistics"], VALUE_TOLERANCE),
    )
    reasons = []
    if added:
        reasons.append(f"its forward gives {len(idle)} parameters no gradient ({_listed(idle)})")
    if logits > VALUE_TOLERANCE:
        reasons.append("its forward is another one in training mode (dropout, stochastic depth or the like)")
    elif worst["gradients"] > GRADIENT_TOLERANCE and not added:
        reasons.append("it has other gradients (a custom backward or a hook on gradients)")
    if worst["statistics"] > VALUE_TOLERANCE and logits <= VALUE_TOLERANCE:
        reasons.append("its batch norms learn other statistics (another average over the batches)")
    if not reasons and not all(check.passed for check in checks):
        reasons.append("a training step of it is another one")
    return checks, ", and ".join(reasons)


def _check(what: str, count: int, difference: float, tolerance: float) -> GraphCheck:
    finite = difference if difference < float("inf") else None
    passed = difference <= tolerance
    return GraphCheck(what=what, against=OWN, compared=count, of=count, difference=finite, passed=passed)


def _apart(own: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    if own.shape != other.shape:
        return float("inf")
    if not own.numel() or torch.equal(own, other):
        return 0.0
    scale = float(own.abs().max())
    apart = float((own - other).abs().max())
    return apart / scale if scale else apart


def _gradient_apart(own: Tensor | None, other: Tensor | None, whole: float) -> float:
    """Length of the difference, as a share of the gradient with what of it may be rounding."""
    if own is None and other is None:
        return 0.0
    apart = _length([own, other]) if own is None or other is None else float(torch.linalg.vector_norm(own - other))
    length = 0.0 if own is None else float(torch.linalg.vector_norm(own))
    floor = GRADIENT_FLOOR / GRADIENT_TOLERANCE * whole
    return 0.0 if apart == 0 else apart / (length + floor) if length + floor > 0 else float("inf")


def _length(gradients: Iterable[Tensor | None]) -> float:
    squares = [float(entry.square().sum()) for entry in gradients if entry is not None]
    return float(sum(squares) ** 0.5)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
