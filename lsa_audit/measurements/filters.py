"""Synaptic filters: what a model still classifies right when weights on one side of a threshold are taken out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.integrate import simpson
from torch import Tensor, nn

from ..graph.base import Graph, Layer
from ..graph.weights import layer_weights
from ..records import FilterCurve, FilteredWeights, FilterName, Filters, Skipped
from ..stats.statistics import Floats, estimate, finite
from .measures import verdicts

POSITIONS = tuple((np.arange(25) / 24).tolist())
"""Thresholds, from the least filtering on, as a share of the way between the smallest and the largest weight."""

FILTER_NAMES: tuple[FilterName, ...] = ("high-pass", "low-pass", "pulse")

Attack = Callable[[Tensor, Tensor, tuple[str, ...]], Tensor]
"""Images [n, ...], labels [n] and image ids -> adversarial images [n, ...] for the model as it is now."""

Batches = Callable[[], Iterable[tuple[Tensor, Tensor, tuple[str, ...]]]]
"""The same images, labels and image ids on every call, batch by batch, on the device of the model."""

Count = Callable[[], tuple[int, int, int]]
"""Of the model as it is now: images that are right, images that the attack leaves right, images."""


@dataclass(frozen=True)
class _Part:
    """The weights of one layer with their smallest and largest value."""

    layer_name: str
    weight: Tensor
    low: float
    high: float

    def removed(self, filter_name: FilterName, position: float) -> Tensor:
        """Which weights a filter sets to zero; thresholds are rounded to the weights' own type."""
        if filter_name == "high-pass":
            return self.weight <= self._threshold(position)
        if filter_name == "low-pass":
            return self.weight >= self._threshold(1 - position)
        half = (self.high - self.low) / 50
        return (self.weight >= self._threshold(position, -half)) & (self.weight < self._threshold(position, half))

    def _threshold(self, position: float, shift: float = 0.0) -> Tensor:
        value = self.low * (1 - position) + self.high * position + shift
        return torch.tensor(value, dtype=self.weight.dtype, device=self.weight.device)


def measure_filters(
    graph: Graph,
    module: nn.Module,
    layers: Sequence[Layer],
    batches: Batches,
    attack: Attack,
    perturbation: str,
    advance: Callable[[int], None],
) -> tuple[Filters | None, tuple[Skipped, ...]]:
    """Three filters on the weights of each learnable layer, and on those of all these layers together.

    The thresholds a lie evenly between the smallest weight and the largest, both included; for the network, each layer
    is filtered at its own threshold of the same position. High-pass sets w <= a to zero, a from the smallest weight up;
    low-pass w >= a, a from the largest weight down; pulse a - h <= w < a + h with h a fiftieth of the range, from the
    smallest up. Biases stay. An image that the filtered model classifies wrong is not attacked and counts as wrong.

    Source: Pravin, Martino, Nicosia, Ojha, arXiv 2312.09821.
    Differs from the source: d, which it does not define, is the share of weights that are left and not zero; it does
    not say which values the 25 thresholds take, nor how a network's layers share them; any attack, not only FGSM.

    Args:
        graph: shares its parameters with `module`.
        module: in eval mode. Its weights are edited in place, and are the same again afterwards, whatever happens.
        layers: those that are not learnable are passed over.
        attack: called anew on every filtered model.
        perturbation: id of the attack.
        advance: told the number of images after each batch of each model; see `models_measured`.

    Returns:
        What was found, None where no layer can be filtered; the layers that cannot be.

    Cost: `models_measured` times a forward of all images, and an attack and a forward of those that are right.
    """
    parts, skipped = _parts(graph, layers)
    if not parts:
        return None, skipped
    count = partial(_count, module, batches, attack, advance)
    right, robust, samples = count()
    return Filters(
        perturbation=perturbation,
        samples=samples,
        clean=estimate(right, samples),
        adversarial=estimate(robust, samples),
        network=_filtered_weights(None, parts, count),
        layers=tuple(_filtered_weights(part.layer_name, [part], count) for part in parts),
    ), skipped


def models_measured(graph: Graph, layers: Sequence[Layer]) -> int:
    """How many models `measure_filters` runs on all images, the unfiltered one included."""
    parts, _ = _parts(graph, layers)
    return 1 + len(FILTER_NAMES) * len(POSITIONS) * (len(parts) + 1) if parts else 0


def _parts(graph: Graph, layers: Sequence[Layer]) -> tuple[list[_Part], tuple[Skipped, ...]]:
    parts, skipped = [], []
    for layer in layers:
        if layer.info.kind != "learnable":
            continue
        weights = layer_weights(graph, layer)
        if weights is None:
            detail = "its weights are computed from others, shared with another operation, or not to be had"
            skipped.append(_skipped(layer, "weights-not-editable", detail))
            continue
        low, high = (float(bound) for bound in weights.weight.detach().aminmax())
        if low < high and math.isfinite(high - low):
            parts.append(_Part(layer.info.name, weights.weight, low, high))
        else:
            skipped.append(_skipped(layer, "weights-without-range", "its weights are all the same, or not finite"))
    return parts, tuple(skipped)


def _skipped(layer: Layer, reason: str, detail: str) -> Skipped:
    return Skipped(what=f"synaptic filters of {layer.info.name}", reason=reason, detail=detail)


def _count(module: nn.Module, batches: Batches, attack: Attack, advance: Callable[[int], None]) -> tuple[int, int, int]:
    right_count = robust_count = samples = 0
    for images, labels, image_ids in batches():
        right = _right(module, images, labels)
        rows = right.nonzero().flatten()
        if len(rows):
            adversarial = attack(images[rows], labels[rows], tuple(image_ids[row] for row in rows.tolist()))
            robust_count += int(_right(module, adversarial, labels[rows]).sum())
        right_count += len(rows)
        samples += len(images)
        advance(len(images))
    return right_count, robust_count, samples


def _right(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return verdicts(module(images), labels)[0]


def _filtered_weights(layer_name: str | None, parts: Sequence[_Part], count: Count) -> FilteredWeights:
    return FilteredWeights(
        layer=layer_name,
        weights=sum(part.weight.numel() for part in parts),
        curves=tuple(_curve(name, parts, count) for name in FILTER_NAMES),
    )


def _curve(filter_name: FilterName, parts: Sequence[_Part], count: Count) -> FilterCurve:
    total = sum(part.weight.numel() for part in parts)
    kept, clean, adversarial = (np.empty(len(POSITIONS)) for _ in range(3))
    for place, position in enumerate(POSITIONS):
        with _filtered(parts, filter_name, position):
            kept[place] = sum(int(part.weight.count_nonzero()) for part in parts) / total
            right, robust, samples = count()
        clean[place], adversarial[place] = right / samples, robust / samples
    with np.errstate(invalid="ignore", divide="ignore"):
        clean_share, adversarial_share = clean / clean[0], adversarial / adversarial[0]
    return FilterCurve(
        filter=filter_name,
        thresholds=POSITIONS,
        kept=tuple(kept.tolist()),
        clean=tuple(clean.tolist()),
        adversarial=tuple(adversarial.tolist()),
        clean_score=_integral(clean_share - kept),
        adversarial_score=_integral(adversarial_share - kept),
        difference_score=_integral(adversarial_share - clean_share),
    )


def _integral(values: Floats) -> float | None:
    """Over the positions; None where a value does not exist, as a first accuracy of 0 makes of all the others."""
    return finite(simpson(values, x=np.asarray(POSITIONS)))


@contextmanager
def _filtered(parts: Sequence[_Part], filter_name: FilterName, position: float) -> Iterator[None]:
    """Some weights are zero inside, and what they were again outside.

    Their version is too, so that a backward of the caller's, begun before, finds them unchanged.
    """
    originals = [part.weight.detach().clone() for part in parts]
    with torch.autograd.grad_mode._unsafe_preserve_version_counter(tuple(part.weight for part in parts)):
        try:
            with torch.no_grad():
                for part in parts:
                    part.weight.masked_fill_(part.removed(filter_name, position), 0)
            yield
        finally:
            with torch.no_grad():
                for part, original in zip(parts, originals, strict=True):
                    part.weight.copy_(original)
