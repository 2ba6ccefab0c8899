"""Scales of neurons from what dropping them did, folded into the weights that make them, and taken out again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError
from ..graph.base import Graph, Layer
from ..graph.weights import Weights, drop_site_weights
from ..records import NeuronTable, Skipped
from ..records.repair import ScaledLayer, Strengths
from ..runs.reading import DAMAGED_HINT

UNCHANGED = Strengths(fragile=0.0, robust=0.0)


@dataclass(frozen=True)
class Fold:
    """A layer whose neurons can be scaled.

    Attributes:
        fragile, robust: [U] in 0..1, how much of each strength a neuron gets; 0 where it is of the other class.
        rounded_to: the types in which the model's file keeps weight and bias, where they are shorter; what is judged
            must be what the file can hold.
    """

    table: NeuronTable
    weights: Weights
    fragile: Tensor
    robust: Tensor
    rounded_to: tuple[torch.dtype | None, ...] = (None, None)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The weight, and the bias where there is one."""
        bias = self.weights.bias
        return (self.weights.weight,) if bias is None else (self.weights.weight, bias)

    def scales(self, strengths: Strengths) -> Tensor:
        """[U] float64: what each neuron is multiplied by."""
        return 1 + strengths.fragile * self.fragile - strengths.robust * self.robust

    def describe(self, strengths: Strengths) -> ScaledLayer:
        """The layer for the record, with the scales of the strengths."""
        classes = [neuron.clean.neuron_class for neuron in self.table.neurons]
        return ScaledLayer(
            layer=self.table.layer,
            weight=self.weights.name,
            fragile=classes.count("fragile"),
            robust=classes.count("robust"),
            null=classes.count("null"),
            scales=tuple(self.scales(strengths).tolist()),
            rounded_to=tuple(sorted({str(kind).removeprefix("torch.") for kind in self.rounded_to if kind})),
        )


def fold(table: NeuronTable, weights: Weights) -> Fold:
    """The shares of the two strengths that each neuron of a layer gets, from the accuracy that is lost without it.

    A fragile neuron gets f = drop / largest drop of the layer; a robust one r = 1 - max(drop, 0) / largest drop, which
    is 1 where nothing drops; a null one stays as it is. Classes and drops are those on clean images.

    Raises:
        DataError: the table does not fit the weights, or holds a drop that is none.

    Source: Pravin et al., arXiv 2201.12347: compress the features of robust neurons, amplify fragile ones in
    proportion.
    Differs from the source: it gives no formula for the scales; these are ours.
    """
    neurons = table.neurons
    drops = [neuron.clean.accuracy_drop for neuron in neurons]
    count = weights.weight.shape[weights.neuron_dim]
    if [neuron.neuron_index for neuron in neurons] != list(range(count)) or not all(-1 <= drop <= 1 for drop in drops):
        raise DataError(f"the neuron table of {table.layer} does not fit its {count} neurons", DAMAGED_HINT)
    largest = max(*drops, 0.0)
    shares = [max(drop, 0.0) / largest if largest else 0.0 for drop in drops]
    classes = [neuron.clean.neuron_class for neuron in neurons]
    pairs = list(zip(classes, shares, strict=True))
    return Fold(
        table,
        weights,
        torch.tensor([share if kind == "fragile" else 0.0 for kind, share in pairs], dtype=torch.float64),
        torch.tensor([1 - share if kind == "robust" else 0.0 for kind, share in pairs], dtype=torch.float64),
    )


def folds(
    graph: Graph, layers: Sequence[Layer], tables: Sequence[NeuronTable]
) -> tuple[tuple[Fold, ...], tuple[Skipped, ...]]:
    """The layers that can be scaled, and those that cannot.

    Args:
        layers: those of the tables, in their order.

    Raises:
        DataError: a table does not fit its layer.
    """
    found: list[Fold] = []
    skipped = []
    for layer, table in zip(layers, tables, strict=True):
        weights = drop_site_weights(graph, layer)
        what = f"repair of {table.layer}"
        if weights is None:
            detail = "no weight of the model scales its neurons and nothing else"
            skipped.append(Skipped(what=what, reason="not-foldable", detail=detail))
        elif any(weights.weight is other.weights.weight for other in found):
            detail = f"{weights.name} scales its neurons, and an earlier layer's neurons are scaled there already"
            skipped.append(Skipped(what=what, reason="same-neurons", detail=detail))
        else:
            found.append(fold(table, weights))
    return tuple(found), tuple(skipped)


def without_logits(graph: Graph, layers: Sequence[Layer], outputs: int) -> tuple[list[Layer], tuple[Skipped, ...]]:
    """The layers but the last learnable one of the network, where its neurons are the logits.

    Larger logits hardly change an answer, but they flatten the cross-entropy that attacks climb: what such a scale
    gains under an attack is mostly that the attack sees less.

    Args:
        outputs: of the network.
    """
    last = [layer for layer in graph.layers if layer.info.kind == "learnable"][-1:]
    logits = [layer for layer in layers if layer in last and layer.info.neurons == outputs]
    detail = "its neurons are the logits, and larger ones only hide from attacks; --layers takes it all the same"
    skipped = [Skipped(what=f"repair of {layer.info.name}", reason="output-layer", detail=detail) for layer in logits]
    return [layer for layer in layers if layer not in logits], tuple(skipped)


def change(chosen: Sequence[Fold], strengths: Strengths) -> float:
    """Mean of |scale - 1| over all neurons; 0 without a layer."""
    apart = [abs(scale - 1) for entry in chosen for scale in entry.scales(strengths).tolist()]
    return math.fsum(apart) / len(apart) if apart else 0.0


@contextmanager
def scaled(chosen: Sequence[Fold], strengths: Strengths) -> Iterator[None]:
    """The model with its neurons scaled, in place; its weights come back bit by bit, also after an exception.

    Cost: a copy of the weights.
    """
    tensors = [tensor for entry in chosen for tensor in entry.tensors]
    kept = [tensor.detach().clone() for tensor in tensors]
    try:
        with torch.no_grad():
            for entry in chosen:
                _multiply(entry, entry.scales(strengths))
        yield
    finally:
        with torch.no_grad():
            for tensor, before in zip(tensors, kept, strict=True):
                tensor.copy_(before)


def _multiply(entry: Fold, scales: Tensor) -> None:
    shape = [1] * entry.weights.weight.dim()
    shape[entry.weights.neuron_dim] = -1
    for tensor, factors, rounded_to in zip(entry.tensors, (scales.view(shape), scales), entry.rounded_to, strict=False):
        tensor.mul_(factors.to(tensor.device, tensor.dtype))
        if rounded_to is not None:
            tensor.copy_(tensor.to(rounded_to))
