"""Nodal dropout: what the model loses when one neuron is taken out, on clean and on adversarial images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..graph import taps
from ..graph.base import Graph, Layer
from ..graph.suffix import rerun
from ..records import Neuron, NeuronClass, NeuronTable
from ..statistics import Floats, finite, holm, mcnemar_loss, rank_correlation
from .measures import divide, norm

SIGNIFICANCE = 0.05
AT_ONCE = 64
"""Neurons whose logits are held at the same time."""


@dataclass(frozen=True)
class Effects:
    """Verdicts and margins of U dropped neurons over N images; row U is the whole model."""

    right: NDArray[np.bool_]
    margin: Floats

    @classmethod
    def empty(cls, neurons: int, samples: int) -> Effects:
        return cls(np.zeros((neurons + 1, samples), dtype=np.bool_), np.zeros((neurons + 1, samples)))


class DropoutProbe:
    """Drops each neuron of one layer in turn and re-runs the model on clean and adversarial images, batch by batch.

    A neuron is a channel of a convolution or a feature of a linear layer. It is dropped where its consumers see it:
    after the batch norm that follows the layer, if any, and before the activation.

    Source: Pravin, Martino, Nicosia, Ojha, arXiv 2201.12347 (nodal dropout, adversarial targeting).
    Differs from the source: fragile / robust / null by an exact paired McNemar test with Holm's correction (the source
    has no test); a neuron's change is averaged over the images on which its clean output is not all zero.

    Cost: for each of two versions of an image two forwards, and one run of what follows the layer for each neuron.
    """

    def __init__(self, graph: Graph, layer: Layer, drop_value: Literal["zero", "mean"], samples: int) -> None:
        if layer.info.neurons is None:
            raise ValueError(f"{layer.info.name} has no neuron dimension")
        self._graph = graph
        self._layer = layer
        self._rerun = rerun(graph, layer)
        self._drop_value = drop_value
        self._neurons = layer.info.neurons
        self._samples = samples
        self._seen = 0
        self._sums = torch.zeros(self._neurons, dtype=torch.float64)
        self._summed = 0
        self.clean = Effects.empty(self._neurons, samples)
        self.adversarial = Effects.empty(self._neurons, samples)
        self._targeting: Floats = np.full((self._neurons, samples), np.nan)

    def reference(self, images: Tensor) -> None:
        """Add images [n, ...] to the reference over which `drop_value="mean"` takes each neuron's mean.

        Cost: one forward an image.
        """

        def visit(value: Tensor) -> None:
            neurons = taps.by_neuron(self._layer, value, len(images)).cpu().double()
            self._sums += neurons.sum((0, 2))
            self._summed += neurons.shape[0] * neurons.shape[2]

        with torch.no_grad():
            taps.run(self._graph, images, {self._layer.info.name: visit}, at="drop_site")

    def observe(self, images: Tensor, adversarial: Tensor, labels: Tensor) -> None:
        """Drop every neuron on the next n images and on their adversarial versions; labels [n]."""
        count = len(images)
        columns = slice(self._seen, self._seen + count)
        self._seen += count
        stacked = torch.cat([images, adversarial])
        twice = labels.repeat(2)
        visitors = {self._layer.info.name: self._targeting_visitor(columns)}
        with torch.no_grad():
            self._store(self._neurons, columns, taps.run(self._graph, stacked, visitors, at="drop_site"), twice)
        kept = self._rerun.keep(stacked)
        fills = self._fills().to(stacked)
        for start in range(0, self._neurons, AT_ONCE):
            neurons = range(start, min(start + AT_ONCE, self._neurons))
            logits = self._rerun.drop(kept, neurons, fills[start : start + len(neurons)])
            for index, row in zip(neurons, logits, strict=True):
                self._store(index, columns, row, twice)

    def _fills(self) -> Tensor:
        """What each neuron becomes, [U]."""
        return self._sums / self._summed if self._drop_value == "mean" else torch.zeros(self._neurons)

    def _targeting_visitor(self, columns: slice) -> taps.Visitor:
        def visit(value: Tensor) -> None:
            count = columns.stop - columns.start
            neurons = taps.by_neuron(self._layer, value, 2 * count)
            clean, moved = neurons[:count], neurons[count:]
            self._targeting[:, columns] = divide(norm(moved - clean), norm(clean)).T.cpu().numpy()

        return visit

    def _store(self, row: int, columns: slice, logits: Tensor, labels: Tensor) -> None:
        margin = true_class_margin(logits, labels).cpu().double().numpy()
        right = (logits.argmax(1) == labels).cpu().numpy()
        count = columns.stop - columns.start
        for effects, part in ((self.clean, slice(0, count)), (self.adversarial, slice(count, None))):
            effects.right[row, columns] = right[part]
            effects.margin[row, columns] = margin[part]

    def result(self, perturbation: str | None, seed: int) -> NeuronTable:
        """The table over all images observed.

        Args:
            perturbation: id of the attack that made the adversarial images.
            seed: of the permutation tests.
        """
        p_values = [mcnemar_loss(*_changes(self.clean, index)) for index in range(self._neurons)]
        adjusted = holm(p_values)
        neurons = tuple(self._neuron(index, p_values[index], float(adjusted[index])) for index in range(self._neurons))
        targeting = [neuron.targeting_score for neuron in neurons]
        return NeuronTable(
            layer=self._layer.info.name,
            site=self._layer.drop_label,
            drop_value=self._drop_value,
            perturbation=perturbation,
            samples=self._seen,
            neurons=neurons,
            correlations=tuple(
                rank_correlation(
                    (name, "targeting_score"), [getattr(neuron, name) for neuron in neurons], targeting, seed
                )
                for name in ("accuracy_drop", "margin_drop")
            ),
        )

    def _neuron(self, index: int, p_value: float, p_adjusted: float) -> Neuron:
        losses, gains = _changes(self.clean, index)
        shares = self._targeting[index][np.isfinite(self._targeting[index])]
        return Neuron(
            neuron_index=index,
            neuron_class=neuron_class(losses + gains, p_adjusted),
            accuracy_drop=(losses - gains) / self._seen,
            margin_drop=_margin_drop(self.clean, index),
            adversarial_accuracy_drop=float(np.subtract(*_changes(self.adversarial, index))) / self._seen,
            adversarial_margin_drop=_margin_drop(self.adversarial, index),
            targeting_score=float(shares.mean()) if len(shares) else None,
            p_value=p_value,
            p_adjusted=p_adjusted,
        )


def true_class_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Logit of the label minus the largest other logit: [N], positive where the model is right."""
    true = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], float("-inf"))
    return true[:, 0] - others.amax(1)


def neuron_class(changed: int, p_adjusted: float) -> NeuronClass:
    """fragile: a significant loss; null: no verdict changed; robust: the rest."""
    if changed == 0:
        return "null"
    return "fragile" if p_adjusted < SIGNIFICANCE else "robust"


def first_layer(layers: Sequence[Layer]) -> Layer | None:
    """The first convolution, else the first learnable layer, else None."""
    learnable = [layer for layer in layers if layer.info.kind == "learnable" and layer.info.neurons]
    convolutions = [layer for layer in learnable if layer.info.op.startswith("conv")]
    return next(iter(convolutions or learnable), None)


def _changes(effects: Effects, index: int) -> tuple[int, int]:
    whole, dropped = effects.right[-1], effects.right[index]
    return int((whole & ~dropped).sum()), int((~whole & dropped).sum())


def _margin_drop(effects: Effects, index: int) -> float | None:
    with np.errstate(invalid="ignore"):
        return finite((effects.margin[-1] - effects.margin[index]).mean())
