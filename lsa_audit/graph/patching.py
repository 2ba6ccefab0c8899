"""Puts clean values of layers back into the forward of attacked images, and runs on to the logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, fx

from . import taps
from .base import Graph, Layer
from .cut import GraphCut, GraphSection, find_cut

Neurons = tuple[int, ...] | None
"""Some neurons of a layer by index; None: the whole layer."""


@dataclass(frozen=True)
class Patch:
    """What is put back at once: a layer, or some of its neurons, at its drop site."""

    layer: Layer
    neurons: Neurons = None


@dataclass(frozen=True)
class Patched:
    """Logits of n images: clean [n, K], attacked [n, K], and attacked with each of P patches [P, n, K]."""

    clean: Tensor
    attacked: Tensor
    patched: Tensor


class Patcher(ABC):
    """Runs clean and attacked images, and the attacked ones once more for each patch.

    The logits are those of `taps.run` on the attacked images with a visitor at the drop site that puts in the clean
    value. A layer on which the logits do not depend changes nothing.
    """

    def __init__(self, graph: Graph, patches: Sequence[Patch]) -> None:
        for patch in patches:
            if patch.neurons is not None and patch.layer.info.neuron_dim is None:
                raise ValueError(f"{patch.layer.info.name} has no neuron dimension")
        self._graph = graph
        self._count = len(patches)
        self._layer_at = {patch.layer.drop_site: patch.layer for patch in patches}
        self._places: dict[str, dict[Neurons, list[int]]] = defaultdict(lambda: defaultdict(list))
        for position, patch in enumerate(patches):
            self._places[patch.layer.drop_site][patch.neurons].append(position)

    @abstractmethod
    def run(self, images: Tensor, adversarial: Tensor) -> Patched:
        """Patch n >= 1 images: clean ones [n, ...] and their attacked versions, in one order; P >= 1.

        Raises:
            ValueError: the model runs in a runtime of its own, where values cannot be replaced.
        """

    def _collect(self, clean: Tensor, attacked: Tensor, found: Mapping[int, Tensor]) -> Patched:
        logits = [found.get(position, attacked) for position in range(self._count)]
        return Patched(clean, attacked, torch.stack(logits))


def patcher(graph: Graph, patches: Sequence[Patch]) -> Patcher:
    """The cheapest exact way to put these patches back.

    Raises:
        ValueError: neurons of a layer that has no neuron dimension.
    """
    if isinstance(graph.module, fx.GraphModule):
        return Lockstep(graph, graph.module, patches)
    return Hooked(graph, patches)


def put_back(layer: Layer, attacked: Tensor, clean: Tensor, neurons: Neurons) -> Tensor:
    """The attacked value of a layer with the clean one in place of some neurons or, for None, of all."""
    if neurons is None:
        return clean
    dim = layer.info.neuron_dim
    assert dim is not None  # noqa: S101 - held by who took the patch
    index = torch.as_tensor(neurons, device=clean.device)
    return attacked.index_copy(dim, index, clean.index_select(dim, index))


@dataclass(frozen=True)
class _Fork:
    """Where the patches of one place leave the common run.

    Attributes:
        site: the value that is replaced.
        start: position of the last node that must have run before: the site, or a branch beside it that is read.
        section: what leads from the site to the logits.
        reads: values from before that the section reads, the site among them.
    """

    site: fx.Node
    start: int
    section: GraphSection
    reads: frozenset[fx.Node]


@dataclass(frozen=True)
class _Leg:
    """A stretch of the common run, the forks behind it, and the values that later legs still read."""

    section: GraphSection
    forks: tuple[_Fork, ...]
    kept: frozenset[fx.Node]


class Lockstep(Patcher):
    """For a functional graph: clean and attacked images go through the nodes side by side, once for all patches.

    Where all that crosses the cut behind a layer is known, a copy of the attacked run leaves with the clean value of
    the layer, and only what depends on the layer runs again. Values go as soon as nobody reads them any more.

    Cost: one forward for the clean and one for the attacked images, and for each patch what follows its layer; layers
    with one drop site share theirs. Of activations no more is held at once than both forwards and one copy need, and
    the sites that wait for a branch beside them.
    """

    def __init__(self, graph: Graph, module: fx.GraphModule, patches: Sequence[Patch]) -> None:
        super().__init__(graph, patches)
        (logits,) = module.graph.output_node().all_input_nodes
        whole = find_cut(module.graph, logits.name)
        self._images, self._logits = whole.images, logits
        order = {node: position for position, node in enumerate(whole.prefix)}
        forks = [self._fork(module, order, site) for site in self._places]
        self._legs = _legs(module, whole.prefix, [fork for fork in forks if fork is not None])

    def _fork(self, module: fx.GraphModule, order: Mapping[fx.Node, int], site: str) -> _Fork | None:
        cut = find_cut(module.graph, site)
        if not cut.reached:
            return None
        # Weights and sizes are not waited for, but fetched in the fork: all sites would else be held to the end.
        start = max(order[node] for node in (cut.site, *cut.dependent))
        nodes = _fork_nodes(cut, order, start)
        read = {operand for node in nodes for operand in node.all_input_nodes}
        reads = frozenset((read - {*nodes}) | {cut.site})
        return _Fork(cut.site, start, GraphSection(module, nodes, (cut.logits,)), reads)

    def run(self, images: Tensor, adversarial: Tensor) -> Patched:
        found: dict[int, Tensor] = {}
        clean: dict[fx.Node, Any] = {self._images: images}
        attacked: dict[fx.Node, Any] = {self._images: adversarial}
        with torch.inference_mode():
            for leg in self._legs:
                leg.section.run(clean)
                leg.section.run(attacked)
                for fork in leg.forks:
                    for neurons, positions in self._places[fork.site.name].items():
                        found.update(dict.fromkeys(positions, self._follow(fork, clean, attacked, neurons)))
                clean = {node: value for node, value in clean.items() if node in leg.kept}
                attacked = {node: value for node, value in attacked.items() if node in leg.kept}
            return self._collect(clean[self._logits], attacked[self._logits], found)

    def _follow(
        self, fork: _Fork, clean: Mapping[fx.Node, Any], attacked: Mapping[fx.Node, Any], neurons: Neurons
    ) -> Tensor:
        values = {node: attacked[node] for node in fork.reads}
        layer = self._layer_at[fork.site.name]
        values[fork.site] = put_back(layer, attacked[fork.site], clean[fork.site], neurons)
        fork.section.run(values)
        logits: Tensor = values[self._logits]
        return logits


class Hooked(Patcher):
    """For a model that runs as it is, with module hooks: every patch is a whole forward.

    Cost: two forwards, one for each place that is patched, and one for each patch.
    """

    def run(self, images: Tensor, adversarial: Tensor) -> Patched:
        found: dict[int, Tensor] = {}
        # Not inference mode: what a network caches in its forward must stay usable in training.
        with torch.no_grad():
            for site, patches in self._places.items():
                layer = self._layer_at[site]
                clean = self._clean_value(layer, images)
                if clean is None:
                    continue
                for neurons, positions in patches.items():
                    logits = self._patched_run(Patch(layer, neurons), clean, adversarial)
                    found.update(dict.fromkeys(positions, logits))
            return self._collect(taps.run(self._graph, images, {}), taps.run(self._graph, adversarial, {}), found)

    def _clean_value(self, layer: Layer, images: Tensor) -> Tensor | None:
        """None where the forward, which may depend on values, does not come by the layer."""
        seen: list[Tensor] = []

        def keep(value: Tensor) -> None:
            # A copy, as what follows may work in place.
            seen.append(value.clone())

        taps.run(self._graph, images, {layer.info.name: keep}, at="drop_site")
        return seen[0] if seen else None

    def _patched_run(self, patch: Patch, clean: Tensor, adversarial: Tensor) -> Tensor:
        def visit(value: Tensor) -> Tensor:
            return put_back(patch.layer, value, clean, patch.neurons).clone()

        return taps.run(self._graph, adversarial, {patch.layer.info.name: visit}, at="drop_site")


def _fork_nodes(cut: GraphCut, order: Mapping[fx.Node, int], start: int) -> tuple[fx.Node, ...]:
    """What depends on the site, and what else it reads that has not run by then, in the order of execution."""
    late = [node for node in cut.prefix if order[node] > start]
    return tuple(sorted((*late, *cut.suffix), key=order.__getitem__))


def _legs(module: fx.GraphModule, nodes: Sequence[fx.Node], forks: Sequence[_Fork]) -> tuple[_Leg, ...]:
    """The common run cut behind each position where patches leave it."""
    stops = [0, *sorted({fork.start + 1 for fork in forks} | {len(nodes)})]
    legs: list[_Leg] = []
    later = frozenset(nodes[-1:])
    for begin, end in reversed(list(pairwise(stops))):
        here = tuple(fork for fork in forks if fork.start + 1 == end)
        wanted = later.union(*(fork.reads for fork in here))
        part = nodes[begin:end]
        legs.append(_Leg(GraphSection(module, part, wanted), here, later))
        later = wanted.union(*(node.all_input_nodes for node in part)).difference(part)
    return tuple(reversed(legs))
