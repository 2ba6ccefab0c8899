"""Nodal dropout: what the model loses when one neuron is taken out, on clean and on adversarial images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..graph.base import Graph, Layer
from ..graph.suffix import Kept, rerun
from ..statistics import Floats
from .measures import verdicts
from .racing import Flags, Race
from .survey import Attacked, Survey

PAIRS_AT_ONCE = 2**13
"""Pairs of a neuron and an image whose logits are held at the same time."""

HELD_BYTES = 2**30
"""Of values before a layer that are held for all images; above it they are computed anew for every heat."""

Batches = Callable[[], Iterable[Attacked]]


class LayerDropout:
    """Drops neurons of one layer, one at a time, and re-runs the model on clean and adversarial images.

    A neuron is a channel of a convolution or a feature of a linear layer. It is dropped where its consumers see it:
    after the batch norm that follows the layer, if any, and before the activation. Columns are those of `Survey`.

    Source: Pravin, Martino, Nicosia, Ojha, arXiv 2201.12347 (nodal dropout).
    Differs from the source: any layer, not only the first convolution; under an allowance only the pairs of neuron and
    image that decide the neurons' classes are measured (see `Race`).

    Attributes:
        measured: [U, 2N], where `margin` holds what was measured.
        margin: [U, 2N], the true-class margin without the neuron.
        races: the clean and the adversarial images, with what is known of the verdicts.
    """

    def __init__(self, graph: Graph, layer: Layer, samples: int) -> None:
        if layer.info.neurons is None:
            raise ValueError(f"{layer.info.name} has no neuron dimension")
        self._name = layer.info.name
        self._neurons = layer.info.neurons
        self._samples = samples
        self._rerun = rerun(graph, layer)
        self._whole_flops = sum(one.info.flops for one in graph.layers)
        self._fill = torch.zeros(self._neurons)
        self._kept: dict[int, Kept] = {}
        self._ran_before = 0
        self._right: Flags = np.zeros((self._neurons, 0), np.bool_)
        self.margin: Floats = np.zeros((self._neurons, 0))
        self.races: tuple[Race, ...] = ()

    @property
    def pairs(self) -> int:
        """Neurons times images, clean and adversarial."""
        return self._neurons * 2 * self._samples

    @property
    def measured(self) -> Flags:
        """[U, 2N]."""
        return np.concatenate([race.measured for race in self.races], axis=1)

    @property
    def exact_cost(self) -> float:
        """What measuring every pair takes, by FLOPs, in whole forwards."""
        return self._cost(self.pairs, 2 * self._samples)

    def cost_before(self, images: int) -> float:
        """What running so many images up to the layer takes, in whole forwards."""
        return self._cost(0, images)

    @property
    def sampled(self) -> NDArray[np.int64]:
        """Neurons of a random choice that were dropped on every image, whatever is estimated of them."""
        drawn = self.races[0].sampled
        return drawn[self.measured[drawn].all(1)]

    @property
    def cost(self) -> float:
        """What has been spent, by FLOPs, in whole forwards."""
        return self._cost(int(self.measured.sum()), self._ran_before)

    def _cost(self, pairs: int, ran_before: int) -> float:
        share = self._rerun.flops / self._whole_flops if self._whole_flops else 1.0
        return pairs * share + ran_before * (1 - share)

    def run(self, survey: Survey, batches: Batches, allowance: int, seed: int, advance: Callable[[int], None]) -> None:
        """Measure every pair, or as many as `allowance` says: a random sample, then heats until every neuron is clear,
        then whole neurons from the largest drop on.

        Args:
            survey: of these images, finished.
            batches: the same images on every call, in order.
            seed: of the random sample.
            advance: told the number of pairs that are done.

        Cost: a run of what follows the layer for each pair; what comes before it once for each image, or for each heat
            where all its values would take more than `HELD_BYTES`.
        """
        self._prepare(survey, seed)
        if allowance >= self.pairs:
            self._measure(batches, [np.ones_like(race.measured) for race in self.races], advance)
            self._kept.clear()
            return
        each = allowance // 2
        self._measure(batches, [race.start(each) for race in self.races], advance)
        while self._measure(batches, [race.heat(each - race.measured.sum()) for race in self.races], advance):
            pass
        self._measure(batches, [race.rest(each - race.measured.sum()) for race in self.races], advance)
        self._kept.clear()

    def _prepare(self, survey: Survey, seed: int) -> None:
        shape = (self._neurons, 2 * self._samples)
        self._fill = survey.fill(self._name)
        self._right, self.margin = np.zeros(shape, np.bool_), np.zeros(shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            risk = (-survey.changes(self._name) / survey.margin).astype(np.float32)
        halves = (slice(None, self._samples), slice(self._samples, None))
        self.races = tuple(Race(risk[:, half], survey.right[half], seed) for half in halves)

    def _measure(self, batches: Batches, wanted: Sequence[Flags], advance: Callable[[int], None]) -> bool:
        """Measure the wanted pairs [U, N] of each race; whether there were any."""
        table = np.concatenate(list(wanted), axis=1)
        if not table.any():
            return False
        for attacked in batches():
            columns = attacked.columns(self._samples)
            neurons, rows = np.nonzero(table[:, columns])
            if len(neurons):
                self._measure_batch(attacked, neurons, rows, columns, advance)
        for race, mask, right in zip(self.races, wanted, np.split(self._right, 2, axis=1), strict=True):
            race.store(mask, right)
        return True

    def _measure_batch(
        self,
        attacked: Attacked,
        neurons: NDArray[np.int64],
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        advance: Callable[[int], None],
    ) -> None:
        kept = self._keep(attacked)
        device = attacked.images.device
        labels, fill = attacked.labels.repeat(2), self._fill.to(device)
        for start in range(0, len(neurons), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            which, where = (torch.from_numpy(places[part]).to(device) for places in (neurons, rows))
            logits = self._rerun.drop_pairs(kept, where, which, fill[which])
            right, margin = verdicts(logits, labels[where])
            place = neurons[part], columns[rows[part]]
            self._right[place], self.margin[place] = right.cpu().numpy(), margin.cpu().double().numpy()
            advance(len(which))

    def _keep(self, attacked: Attacked) -> Kept:
        if attacked.start in self._kept:
            return self._kept[attacked.start]
        kept = self._rerun.keep(attacked.stacked)
        self._ran_before += len(kept.images)
        if kept.bytes / len(kept.images) * 2 * self._samples <= HELD_BYTES:
            self._kept[attacked.start] = kept
        return kept


def first_layer(layers: Sequence[Layer]) -> Layer | None:
    """The first convolution, else the first learnable layer, else None."""
    learnable = [layer for layer in layers if layer.info.kind == "learnable" and layer.info.neurons]
    convolutions = [layer for layer in learnable if layer.info.op.startswith("conv")]
    return next(iter(convolutions or learnable), None)
