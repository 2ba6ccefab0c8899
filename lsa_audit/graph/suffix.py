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
from .cut import Section, find_cut
from .stacking import (
    Crossing,
    PerImage,
    Unstackable,
    chosen,
    find_crossing,
    repeated,
    set_neurons,
    stack_bytes,
    stack_size,
)
from .verification import pair_and_triple, probe_images, same


@dataclass(frozen=True)
class Kept:
    """What is needed of some images to run them again: themselves [n, ...], and by node the values where runs start."""

    images: Tensor
    values: Mapping[fx.Node, Any]


class Rerun(ABC):
    """Logits of a walked model with one neuron of a layer set to another value at its drop site.

    Copies of the images, each with another neuron set, go through as one batch. Where images see their batch mates, or
    copies of them cannot be told apart, the whole batch goes through for one neuron after the other. In any case the
    logits are those of `taps.run` with a visitor at the drop site.

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
        fills = torch.as_tensor(fill, device=kept.images.device).expand(len(neurons))
        if rows is not None and self.stackable:
            kept, rows = self._at(kept, rows), None
        step = self._stack_size(kept, len(neurons))
        starts = range(0, len(neurons), step)
        logits = torch.cat([self._run(kept, neurons[at : at + step], fills[at : at + step]) for at in starts])
        return logits if rows is None else logits[:, rows]

    @abstractmethod
    def _at(self, kept: Kept, rows: Tensor) -> Kept: ...

    @abstractmethod
    def _run(self, kept: Kept, neurons: Sequence[int], fill: Tensor) -> Tensor: ...

    def _stack_size(self, kept: Kept, neurons: int) -> int:
        if not self.stackable:
            return 1
        limit = stack_bytes(kept.images.device) if self._limit_bytes is None else self._limit_bytes
        return stack_size(len(kept.images), neurons, self._image_bytes, limit)


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
        self._layout = Layout(layer.batch_dim, layer.batch_outer)
        self._cut = cut = find_cut(module.graph, layer.drop_site)
        self._wanted = (cut.site, *cut.crossing) if cut.reached else (cut.logits,)
        self._prefix = Section(module, cut.prefix, self._wanted)
        self._suffix = Section(module, cut.suffix, (cut.logits,))
        self._crossings: dict[fx.Node, Crossing] = {}
        self._probed = False
        self.stackable = False
        again = {node.name for node in cut.suffix}
        self.flops = sum(one.info.flops for one in graph.layers if one.site in again)

    def keep(self, images: Tensor) -> Kept:
        """Cost: the first call also runs the model on five images and what follows the layer on eight, to see how the
        batch lies in the values, and whether copies in one batch give the same logits as one after the other."""
        with torch.inference_mode():
            if not self._probed:
                self._probed = True
                self.stackable = self._graph.info.batch_independent is True and self._probe(images)
                if not self.stackable:
                    self._crossings.clear()
            return self._before(images)

    def finish(self, kept: Kept) -> Tensor:
        """Cost: what follows the layer, once."""
        return self._run(kept, (), torch.empty(0))[0]

    def _probe(self, images: Tensor) -> bool:
        """Learn from images of the first batch how values cross the cut; whether copies can be stacked."""
        images = probe_images(images[[0, 1 % len(images), 2 % len(images)]])
        pair, triple = (self._before(batch) for batch in pair_and_triple(images))
        try:
            for node in self._cut.crossing:
                dependent = node in self._cut.dependent
                self._crossings[node] = find_crossing(pair.values[node], triple.values[node], dependent)
            ends, fill = (0, self._neurons - 1), torch.tensor([0.0, 1.0]).to(images)
            together = self._run(pair, ends, fill, self._weigh)
            alone = [self._run(pair, ends[at : at + 1], fill[at : at + 1]) for at in (0, 1)]
        except (Unstackable, RuntimeError):
            return False
        return same(together, torch.cat(alone))

    def _weigh(self, values: Mapping[fx.Node, Any]) -> None:
        """Note the most memory that one of the four images, two copies of a pair, takes."""
        same_for_all = {node for node, crossing in self._crossings.items() if crossing is None}
        held = {}
        for node, value in values.items():
            if isinstance(value, Tensor) and node not in same_for_all:
                held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        self._image_bytes = max(self._image_bytes, sum(held.values()) // 4)

    def _before(self, images: Tensor) -> Kept:
        values: dict[fx.Node, Any] = {self._cut.images: images}
        self._prefix.run(values)
        return Kept(images, {node: values[node] for node in self._wanted})

    def _at(self, kept: Kept, rows: Tensor) -> Kept:
        count = len(kept.images)
        layouts = {self._cut.logits: Layout(0), self._cut.site: self._layout, **self._crossings}
        values = dict(kept.values)
        with torch.inference_mode():
            for node, value in kept.values.items():
                layout = layouts[node]
                if isinstance(layout, Layout):
                    values[node] = chosen(value, layout, count, rows)
            return Kept(kept.images[rows], values)

    def _run(
        self,
        kept: Kept,
        neurons: Sequence[int],
        fill: Tensor,
        watch: Callable[[Mapping[fx.Node, Any]], None] | None = None,
    ) -> Tensor:
        """[T, n, K] for T neurons, [1, n, K] of the unchanged model for none."""
        count, copies = len(kept.images), max(1, len(neurons))
        if not self._cut.reached:
            unchanged: Tensor = kept.values[self._cut.logits]
            return unchanged.expand(copies, -1, -1)

        def fetch(node: fx.Node) -> Any:
            value = kept.values[node]
            if node is self._cut.site:
                value = repeated(value, self._layout, count, copies)
                set_neurons(self._layer, value, neurons, fill)
                return value
            crossing = self._crossings.get(node)
            if isinstance(crossing, PerImage):
                return crossing.share * copies * count
            return value if crossing is None or copies == 1 else repeated(value, crossing, count, copies)

        with torch.inference_mode():
            values = _OnDemand(fetch)
            self._suffix.run(values, watch)
            logits: Tensor = values[self._cut.logits]
            return logits.reshape(copies, count, -1)


class Whole(Rerun):
    """For a model that runs as it is, with module hooks: every run is a whole forward."""

    exact_suffix = False

    def __init__(self, graph: Graph, layer: Layer, limit_bytes: int | None) -> None:
        super().__init__(graph, layer, limit_bytes)
        self.stackable = graph.info.batch_independent is True
        self.flops = sum(one.info.flops for one in graph.layers)
        # The modules do not show what they hold: an operation reads and writes one value, and another one waits.
        self._image_bytes = 3 * 4 * max(math.prod(one.info.output_shape) for one in graph.layers)

    def keep(self, images: Tensor) -> Kept:
        """Cost: nothing is run."""
        return Kept(images, {})

    def finish(self, kept: Kept) -> Tensor:
        """Cost: one forward."""
        with torch.no_grad():
            return taps.run(self._graph, kept.images, {})

    def _at(self, kept: Kept, rows: Tensor) -> Kept:
        return Kept(kept.images[rows], {})

    def _run(self, kept: Kept, neurons: Sequence[int], fill: Tensor) -> Tensor:
        count, copies = len(kept.images), len(neurons)

        def visit(value: Tensor) -> Tensor:
            value = value.clone()
            set_neurons(self._layer, value, neurons, fill)
            return value

        # Not inference mode: what a network caches in its forward must stay usable in training.
        with torch.no_grad():
            images = repeated(kept.images, Layout(0), count, copies)
            logits = taps.run(self._graph, images, {self._layer.info.name: visit}, at="drop_site")
            return logits.reshape(copies, count, -1)


class _OnDemand(dict[fx.Node, Any]):
    """Values that are fetched when they are first read, so that they are not held before."""

    def __init__(self, fetch: Callable[[fx.Node], Any]) -> None:
        super().__init__()
        self._fetch = fetch

    def __missing__(self, node: fx.Node) -> Any:
        self[node] = value = self._fetch(node)
        return value
