"""Re-runs only what follows a layer, for several dropped neurons at once.

What comes before the layer is run once for a batch of images. The layer's value, and every other value that later
operations read, are kept; only the operations behind the layer run again for each neuron.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from . import taps
from .base import Graph, Layer, Layout
from .batch_layout import pair_and_triple, probe_images, same
from .cut import GraphSection, find_cut
from .stacking import Crossing, PerImage, Unstackable, chosen, find_crossing, set_neurons, stack_bytes, stack_size


@dataclass(frozen=True)
class Kept:
    """What is needed of some images to run them again: themselves [n, ...], and by node the values where runs start."""

    images: Tensor
    values: Mapping[fx.Node, Any]


class Rerun(ABC):
    """Logits of a walked model with one neuron of a layer set to another value at its drop site.

    Copies of the images, each with a neuron set, go through as one batch. Where images see their batch mates, or copies
    of them cannot be told apart, the whole batch goes through for one neuron after the other. In any case the logits
    are those of `taps.run` with a visitor at the drop site.

    Attributes:
        exact_suffix: whether only what follows the layer runs again; else whole forwards do.
        flops: per image and neuron, of the layers that run again.
        stackable: whether several neurons go through in one batch; known once images have been kept.
    """

    exact_suffix: bool
    flops: int
    stackable: bool

    def __init__(self, graph: Graph, layer: Layer, limit_bytes: int | None) -> None:
        if layer.info.neurons is None:
            raise ValueError(f"{layer.info.name} has no neuron dimension")
        self._graph = graph
        self._layer = layer
        self._neurons = layer.info.neurons
        self._limit_bytes = limit_bytes
        self._image_bytes = 0

    @abstractmethod
    def learn(self, images: Tensor) -> None:
        """See how the batch lies in the values, from the first images; `keep` does it where it has not been done."""

    @abstractmethod
    def keep(self, images: Tensor) -> Kept:
        """Run what comes before the layer on images [n >= 1, ...] in [0, 1]."""

    @abstractmethod
    def finish(self, kept: Kept) -> Tensor:
        """The logits [n, K] of the unchanged model."""

    def drop(
        self, kept: Kept, neurons: Sequence[int], fill: Tensor | float = 0.0, rows: Tensor | None = None
    ) -> Tensor:
        """The logits [T, n, K] for T >= 1 neurons, each set to `fill` alone.

        Args:
            fill: a number, or one for each neuron: [T].
            rows: positions [m] of the images that are wanted, for logits [T, m, K].

        Raises:
            IndexError: the layer has fewer neurons.

        Cost: one run for each neuron and image; where copies cannot be stacked, of all images whatever `rows` says. All
            logits are held.
        """
        device = kept.images.device
        rows = torch.arange(len(kept.images), device=device) if rows is None else rows
        each = torch.as_tensor(neurons, device=device)
        fills = torch.as_tensor(fill, device=device).expand(len(each))
        logits = self.drop_pairs(
            kept, rows.repeat(len(each)), each.repeat_interleave(len(rows)), fills.repeat_interleave(len(rows))
        )
        return logits.reshape(len(each), len(rows), -1)

    def drop_pairs(self, kept: Kept, rows: Tensor, neurons: Tensor, fill: Tensor) -> Tensor:
        """The logits [P, K] for P >= 1 pairs of an image and a neuron.

        Args:
            rows: positions [P] of the images.
            neurons: [P], the one that is set for that image.
            fill: [P], what it is set to, the same for all pairs of a neuron.

        Raises:
            IndexError: the layer has fewer neurons.

        Cost: one run for each pair; where copies cannot be stacked, of all images for each neuron.
        """
        if not self.stackable:
            return self._one_by_one(kept, rows, neurons, fill)
        limit = stack_bytes(kept.images.device) if self._limit_bytes is None else self._limit_bytes
        step = stack_size(len(rows), self._image_bytes, limit)
        parts = zip(*(torch.split(values, step) for values in (rows, neurons, fill)), strict=True)
        return torch.cat([self._run(kept, *part) for part in parts])

    def _one_by_one(self, kept: Kept, rows: Tensor, neurons: Tensor, fill: Tensor) -> Tensor:
        each, places = torch.unique(neurons, return_inverse=True)
        if int(each[-1]) >= self._neurons:
            raise IndexError(f"{self._layer.info.name} has {self._neurons} neurons")
        logits = []
        for place, neuron in enumerate(each):
            some = (places == place).nonzero()[:, 0]
            logits.append((some, self._run(kept, None, neuron[None], fill[some[:1]])[rows[some]]))
        order = torch.cat([some for some, _ in logits])
        return torch.cat([found for _, found in logits])[order.argsort()]

    @abstractmethod
    def _run(self, kept: Kept, rows: Tensor | None, neurons: Tensor, fill: Tensor) -> Tensor:
        """Logits [P, K] of pairs; with no rows, [n, K] of all images, with one neuron set or none."""


def rerun(graph: Graph, layer: Layer, limit_bytes: int | None = None) -> Rerun:
    """The cheapest exact way to drop neurons of a layer.

    Args:
        limit_bytes: for the values of one batch of copies; None lets the device tell.

    Raises:
        ValueError: the layer has no neurons.
    """
    if isinstance(graph.module, fx.GraphModule):
        return Suffix(graph, graph.module, layer, limit_bytes)
    return Whole(graph, layer, limit_bytes)


class Suffix(Rerun):
    """For a functional graph: values cross the cut behind the layer, and only what reads them runs again."""

    exact_suffix = True

    def __init__(self, graph: Graph, module: fx.GraphModule, layer: Layer, limit_bytes: int | None) -> None:
        super().__init__(graph, layer, limit_bytes)
        self.module = module
        self._layout = Layout(layer.batch_dim, layer.batch_outer)
        self.cut = cut = find_cut(module.graph, layer.drop_site)
        self.wanted = (cut.site, *cut.crossing) if cut.reached else (cut.logits,)
        self._prefix = GraphSection(module, cut.prefix, self.wanted)
        self._suffix = GraphSection(module, cut.suffix, (cut.logits,))
        self._crossings: dict[fx.Node, Crossing] = {}
        self._probed = False
        self.stackable = False
        again = {node.name for node in cut.suffix}
        self.flops = sum(one.info.flops for one in graph.layers if one.site in again)

    def keep(self, images: Tensor) -> Kept:
        """Cost: the first call also runs the model on five images and what follows the layer on eight, to see how the
        batch lies in the values, and whether copies in one batch give the same logits as one after the other."""
        self.learn(images)
        with torch.inference_mode():
            return self._before(images)

    def learn(self, images: Tensor) -> None:
        if self._probed:
            return
        self._probed = True
        with torch.inference_mode():
            self.stackable = self._graph.info.batch_independent is True and self._probe(images)
        if not self.stackable:
            self._crossings.clear()

    def finish(self, kept: Kept) -> Tensor:
        """Cost: what follows the layer, once."""
        nothing = torch.empty(0, dtype=torch.int64)
        return self._run(kept, None, nothing, nothing)

    def _probe(self, images: Tensor) -> bool:
        """Learn from images of the first batch how values cross the cut; whether copies can be stacked."""
        images = probe_images(images[[0, 1 % len(images), 2 % len(images)]])
        pair, triple = (self._before(batch) for batch in pair_and_triple(images))
        device = images.device
        rows, ends = torch.tensor([0, 1, 1, 0], device=device), torch.tensor([0, self._neurons - 1], device=device)
        fill = torch.tensor([0.0, 1.0]).to(images)
        try:
            for node in self.cut.crossing:
                dependent = node in self.cut.dependent
                self._crossings[node] = find_crossing(pair.values[node], triple.values[node], dependent)
            together = self._run(pair, rows, ends.repeat(2), fill.repeat(2), self._weigh)
            alone = [self._run(pair, None, ends[at : at + 1], fill[at : at + 1]) for at in (0, 1)]
        except (Unstackable, RuntimeError):
            return False
        return same(together, torch.stack([alone[0][0], alone[1][1], alone[0][1], alone[1][0]]))

    def _weigh(self, values: Mapping[fx.Node, Any]) -> None:
        """Note the most memory that one of the four images takes."""
        same_for_all = {node for node, crossing in self._crossings.items() if crossing is None}
        held = {}
        for node, value in values.items():
            if isinstance(value, Tensor) and node not in same_for_all:
                held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        self._image_bytes = max(self._image_bytes, sum(held.values()) // 4)

    def _before(self, images: Tensor) -> Kept:
        values: dict[fx.Node, Any] = {self.cut.images: images}
        self._prefix.run(values)
        return self.kept(images, values)

    def kept(self, images: Tensor, values: Mapping[fx.Node, Any]) -> Kept:
        """What is needed, out of the values of all nodes before the layer."""
        return Kept(images, {node: values[node] for node in self.wanted})

    def _run(
        self,
        kept: Kept,
        rows: Tensor | None,
        neurons: Tensor,
        fill: Tensor,
        watch: Callable[[Mapping[fx.Node, Any]], None] | None = None,
    ) -> Tensor:
        count = len(kept.images)
        if not self.cut.reached:
            unchanged: Tensor = kept.values[self.cut.logits]
            return unchanged if rows is None else unchanged[rows]

        def fetch(node: fx.Node) -> Any:
            value = kept.values[node]
            if node is self.cut.site:
                value = value.clone() if rows is None else chosen(value, self._layout, count, rows)
                set_neurons(self._layer, value, neurons, fill)
                return value
            crossing = self._crossings.get(node)
            if rows is None or crossing is None:
                return value
            if isinstance(crossing, PerImage):
                return crossing.share * len(rows)
            return chosen(value, crossing, count, rows)

        with torch.inference_mode():
            values = _OnDemand(fetch)
            self._suffix.run(values, watch)
            logits: Tensor = values[self.cut.logits]
            return logits


class Whole(Rerun):
    """For a model that runs as it is, with module hooks: every run is a whole forward."""

    exact_suffix = False

    def __init__(self, graph: Graph, layer: Layer, limit_bytes: int | None) -> None:
        super().__init__(graph, layer, limit_bytes)
        self.stackable = graph.info.batch_independent is True
        self.flops = sum(one.info.flops for one in graph.layers)
        # The modules do not show what they hold: an operation reads and writes one value, and another one waits.
        self._image_bytes = 3 * 4 * max(math.prod(one.info.output_shape) for one in graph.layers)

    def learn(self, images: Tensor) -> None:
        """Cost: nothing is run."""

    def keep(self, images: Tensor) -> Kept:
        """Cost: nothing is run."""
        return Kept(images, {})

    def finish(self, kept: Kept) -> Tensor:
        """Cost: one forward."""
        with torch.no_grad():
            return taps.run(self._graph, kept.images, {})

    def _run(self, kept: Kept, rows: Tensor | None, neurons: Tensor, fill: Tensor) -> Tensor:
        def visit(value: Tensor) -> Tensor:
            value = value.clone()
            set_neurons(self._layer, value, neurons, fill)
            return value

        # Not inference mode: what a network caches in its forward must stay usable in training.
        with torch.no_grad():
            images = kept.images if rows is None else kept.images[rows]
            return taps.run(self._graph, images, {self._layer.info.name: visit}, at="drop_site")


class _OnDemand(dict[fx.Node, Any]):
    """Values that are fetched when they are first read, so that they are not held before."""

    def __init__(self, fetch: Callable[[fx.Node], Any]) -> None:
        super().__init__()
        self._fetch = fetch

    def __missing__(self, node: fx.Node) -> Any:
        self[node] = value = self._fetch(node)
        return value
