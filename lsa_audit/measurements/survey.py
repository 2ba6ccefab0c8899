"""What one forward and one backward tell of every neuron of every layer: where the attack moves it, and a first-order
estimate of what dropping it would do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from ..graph import taps
from ..graph.base import Graph, Layer
from ..stats.statistics import Floats
from .measures import divide, full, norm, verdicts

DropValue = Literal["zero", "mean"]
Singles = NDArray[np.float32]
MakeVisitor = Callable[[str, Layer], taps.Visitor]


@dataclass(frozen=True)
class Attacked:
    """Some of N images with their adversarial versions, on the device.

    Attributes:
        images, adversarial: [n, ...] in [0, 1].
        labels: [n].
        start: position of the first one among the N.
    """

    images: Tensor
    adversarial: Tensor
    labels: Tensor
    start: int

    @property
    def stacked(self) -> Tensor:
        """Clean images, then adversarial ones: [2n, ...]."""
        return torch.cat([self.images, self.adversarial])

    def columns(self, samples: int) -> NDArray[np.int64]:
        """Where the stacked images lie among 2N columns, clean ones first: [2n]."""
        places = np.arange(self.start, self.start + len(self.images))
        return np.concatenate([places, places + samples])


class Survey:
    """Reads every neuron on clean and adversarial images, batch by batch. Columns 0..N-1 are the clean images, N..2N-1
    the adversarial ones.

    The estimate for neuron i on image x is the first-order change of the true-class margin when its activations become
    the drop value c: sum over its positions of (c - phi_i(x)) * d margin / d phi_i.

    Source: Molchanov et al., arXiv 1611.06440 (Taylor criterion); targeting: Pravin et al., arXiv 2201.12347.
    Differs from the sources: the estimate is signed, of the margin and for each image; a neuron's change under attack
    is a share of its clean length, averaged over the images on which that is not zero.

    Attributes:
        right: [2N], verdicts of the whole model; margin: [2N].

    Cost: two forwards and two backwards an image, for all layers together.
    """

    def __init__(self, graph: Graph, layers: Sequence[Layer], drop_value: DropValue, samples: int) -> None:
        self._graph = graph
        self._layers = {layer.info.name: layer for layer in layers}
        self._drop_value = drop_value
        self.samples = samples
        self.right: NDArray[np.bool_] = np.zeros(2 * samples, dtype=np.bool_)
        self.margin: Floats = np.zeros(2 * samples)
        widths = {name: layer.info.neurons or 0 for name, layer in self._layers.items()}
        self._changes: dict[str, Singles] = {
            name: np.full((width, 2 * samples), np.nan, np.float32) for name, width in widths.items()
        }
        self._moved = {name: torch.zeros(width, dtype=torch.float64) for name, width in widths.items()}
        self._moving = {name: torch.zeros(width) for name, width in widths.items()}
        self._sums = {name: torch.zeros(width, dtype=torch.float64) for name, width in widths.items()}
        self._summed = dict.fromkeys(widths, 0)

    def reference(self, images: Tensor) -> None:
        """Add images [n, ...] to the reference over which `drop_value="mean"` takes each neuron's mean.

        Cost: one forward an image.
        """

        def visitor(name: str, layer: Layer) -> taps.Visitor:
            def visit(value: Tensor) -> None:
                neurons = taps.by_neuron(layer, value, len(images)).cpu().double()
                self._sums[name] += neurons.sum((0, 2))
                self._summed[name] += neurons.shape[0] * neurons.shape[2]

            return visit

        with torch.no_grad():
            taps.run(self._graph, images, self._visitors(visitor), at="drop_site")

    def fill(self, layer_name: str) -> Tensor:
        """What each neuron of the layer becomes when it is dropped: [U]."""
        if self._drop_value == "mean":
            return (self._sums[layer_name] / self._summed[layer_name]).float()
        return torch.zeros(self._layers[layer_name].info.neurons or 0)

    def observe(self, attacked: Attacked) -> None:
        """Read the neurons on the next images; a layer that no gradient reaches keeps NaN as its estimate."""
        columns = attacked.columns(self.samples)
        stacked, labels = attacked.stacked, attacked.labels.repeat(2)
        # A network whose modules work in place would else change what was seen before the gradient is taken.
        in_place = not isinstance(self._graph.module, fx.GraphModule)
        seen: dict[str, Tensor] = {}

        def visitor(name: str, layer: Layer) -> taps.Visitor:
            def visit(value: Tensor) -> Tensor | None:
                self._target(name, taps.by_neuron(layer, value.detach(), len(stacked)))
                seen[name] = value
                return value.clone() if in_place else None

            return visit

        with torch.enable_grad():
            leaf = stacked.clone().requires_grad_(True)
            logits = taps.run(self._graph, leaf, self._visitors(visitor), at="drop_site")
            right, margin = verdicts(logits, labels)
            reached = {name: value for name, value in seen.items() if value.requires_grad and margin.requires_grad}
            gradients = torch.autograd.grad(margin.sum(), [*reached.values()], allow_unused=True) if reached else ()
        self.right[columns], self.margin[columns] = right.cpu().numpy(), margin.detach().cpu().double().numpy()
        for name, gradient in zip(reached, gradients, strict=True):
            if gradient is not None:
                self._estimate(name, columns, seen[name].detach(), gradient)

    def _visitors(self, visitor: MakeVisitor) -> dict[str, taps.Visitor]:
        return {name: visitor(name, layer) for name, layer in self._layers.items()}

    def _target(self, name: str, neurons: Tensor) -> None:
        clean, moved = full(neurons).chunk(2)
        shares = divide(norm(moved - clean), norm(clean)).cpu().double()
        self._moved[name] += shares.nansum(0)
        self._moving[name] += shares.isfinite().sum(0)

    def _estimate(self, name: str, columns: NDArray[np.int64], value: Tensor, gradient: Tensor) -> None:
        layer = self._layers[name]
        neurons, slopes = (full(taps.by_neuron(layer, tensor, len(columns))) for tensor in (value, gradient))
        fill = self.fill(name).to(neurons)[None, :, None]
        self._changes[name][:, columns] = ((fill - neurons) * slopes).sum(2).T.cpu().numpy()

    def changes(self, layer_name: str) -> Singles:
        """Estimated change of each image's margin when a neuron is dropped: [U, 2N], NaN where there is no estimate."""
        return self._changes[layer_name]

    def targeting_scores(self, layer_name: str) -> Floats:
        """Mean over images of ||phi_i(x') - phi_i(x)|| / ||phi_i(x)||: [U], NaN where the neuron is always silent."""
        with np.errstate(invalid="ignore"):
            scores: Floats = (self._moved[layer_name] / self._moving[layer_name]).numpy()
        return scores
