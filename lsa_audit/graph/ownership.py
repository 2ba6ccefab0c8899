"""Which layer a parameter, and the arithmetic of an operation between layers, belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import fx

from ..records import Skipped
from .finding import FoundLayer
from .flops import flops
from .structure import NETWORK, Structure

NO_LAYERS = "the model has no layers"


def parameter_counts(structure: Structure, found: Sequence[FoundLayer]) -> tuple[list[int], list[tuple[str, int, str]]]:
    """Parameters of each layer, and the parameters without one.

    A parameter belongs to the first operation on the input that takes it in, directly or through operations on
    parameters alone (standardised weights, relative-position tables). Where that operation is no layer (a class token,
    a layer scale) it belongs to the first layer behind it, else to the last one before it. Shared parameters count
    once; blocks count 0, since the layers inside hold them.

    Returns:
        Counts, in the order of `found`; (name, count, why) of each parameter that belongs to no layer.
    """
    consumers: dict[int, fx.Node] = {}
    for node in structure.graph.nodes:
        if node in structure.dependent:
            for name in structure.parameters(node):
                consumers.setdefault(id(structure.parameter(name)), node)
    counts = [0] * len(found)
    homeless = []
    for name, parameter in structure.module.named_parameters():
        consumer = consumers.get(id(parameter))
        owner = None if consumer is None else _owner(structure, found, consumer)
        if owner is None:
            why = "nothing reads it" if consumer is None else NO_LAYERS
            homeless.append((name.removeprefix(f"{NETWORK}."), parameter.numel(), why))
        else:
            counts[owner] += parameter.numel()
    return counts, homeless


def unused(homeless: Sequence[tuple[str, int, str]]) -> list[Skipped]:
    """The parameters without a layer, for the report."""
    return [
        Skipped(
            what=f"parameter {name}",
            reason="parameter-outside-layers" if why == NO_LAYERS else "parameter-unused",
            detail=f"{why}: {count} parameters are in no layer",
        )
        for name, count, why in homeless
    ]


def flop_counts(structure: Structure, found: Sequence[FoundLayer]) -> list[int]:
    """FLOPs of each layer for one image, in the order of `found`.

    Products between layers (query times key, weights times value) belong to the attention of the same module, else to
    the first layer behind them, else to the last one before. Arithmetic on parameters alone is spent once for each
    batch and counts 0.
    """
    totals: Counter[int] = Counter()
    # more than what depends on the pixels: a table of positions may be made once for each image of the batch
    grown = set().union(*(_descendants(node) for node in structure.graph.nodes if node.op == "placeholder"))
    for node in structure.graph.nodes:
        if node not in structure.calls or node not in grown:
            continue
        spent = flops(node, structure.shapes)
        if not spent:
            continue
        owner = _member(found, node)
        if owner is None:
            owner = _attention(structure, found, node)
        if owner is None:
            owner = _owner(structure, found, node)
        if owner is not None:
            totals[owner] += spent
    return [totals[index] // structure.images for index in range(len(found))]


def _owner(structure: Structure, found: Sequence[FoundLayer], node: fx.Node) -> int | None:
    owner = _member(found, node)
    if owner is not None:
        return owner
    behind = _descendants(node)
    layers = [index for index, layer in enumerate(found) if layer.kind != "block"]
    after = [index for index in layers if found[index].node in behind]
    before = [index for index in layers if structure.order[found[index].site] < structure.order[node]]
    return after[0] if after else before[-1] if before else layers[0] if layers else None


def _member(found: Sequence[FoundLayer], node: fx.Node) -> int | None:
    return next((index for index, layer in enumerate(found) if node in layer.members), None)


def _attention(structure: Structure, found: Sequence[FoundLayer], node: fx.Node) -> int | None:
    """The nearest attention in the same module call."""
    place = structure.order[node]
    call = structure.calls[node][-1]
    near = [
        (abs(structure.order[layer.node] - place), index)
        for index, layer in enumerate(found)
        if layer.kind == "attention" and structure.calls[layer.node][-1] == call
    ]
    return min(near)[1] if near else None


def _descendants(node: fx.Node) -> set[fx.Node]:
    seen: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        for user in waiting.pop().users:
            if user not in seen:
                seen.add(user)
                waiting.append(user)
    return seen
