"""Nodal dropout: what the model loses when one neuron is taken out, on clean and on adversarial images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..graph.base import Graph, Layer
from ..graph.suffix import Kept, rerun
from ..graph.together import Together
from .measures import verdicts
from .racing import Flags, Race
from .survey import Attacked, Singles, Survey

PAIRS_AT_ONCE = 2**13
"""Pairs of a neuron and an image whose logits are held at the same time."""

Batches = Callable[[], Iterable[Attacked]]


class LayerDropout:
    """Drops neurons of one layer, one at a time, and re-runs the model on clean and adversarial images.

    A neuron is a channel of a convolution or a feature of a linear layer. It is dropped where its consumers see it:
    after the batch norm that follows the layer, if any, and before the activation. Columns are those of `Survey`.

    Source: Pravin, Martino, Nicosia, Ojha, arXiv 2201.12347 (nodal dropout).
    Differs from the source: any layer, not only the first convolution; under an allowance only the pairs of neuron and
    image that decide the neurons' classes are measured (see `Race`).

    Attributes:
        pairs: neurons times images, clean and adversarial.
        share: what a pair costs, in whole forwards by FLOPs.
        rerun: runs what follows the layer.
        ran: runs of what follows the layer so far; more than the measured pairs where copies cannot be stacked.
        margin: [U, 2N], the true-class margin without the neuron, where it was measured.
        races: the clean and the adversarial images, with what is known of the verdicts.
    """

    def __init__(self, graph: Graph, layer: Layer, samples: int) -> None:
        if layer.info.neurons is None:
            raise ValueError(f"{layer.info.name} has no neuron dimension")
        self._name = layer.info.name
        self._shape = (layer.info.neurons, 2 * samples)
        self.pairs = layer.info.neurons * 2 * samples
        self.rerun = rerun(graph, layer)
        whole = sum(one.info.flops for one in graph.layers)
        self.share = self.rerun.flops / whole if whole else 1.0
        self.ran = 0
        self._allowance = 0
        self._fill = torch.zeros(layer.info.neurons)
        self._wanted: Flags = np.zeros((0, 0), np.bool_)
        self._right: Flags = np.zeros((0, 0), np.bool_)
        self.margin: Singles = np.zeros((0, 0), np.float32)
        self.races: tuple[Race, ...] = ()

    @property
    def measured(self) -> Flags:
        """[U, 2N]."""
        return np.concatenate([race.measured for race in self.races], axis=1)

    @property
    def sampled(self) -> NDArray[np.int64]:
        """Neurons of a random choice that were dropped on every image, whatever is estimated of them."""
        drawn = self.races[0].sampled
        return drawn[self.measured[drawn].all(1)]

    def prepare(self, survey: Survey, allowance: int, seed: int) -> None:
        """Before the first pass.

        Args:
            survey: of the images, finished.
            allowance: how many pairs may be measured.
            seed: of the random sample.
        """
        samples = survey.samples
        self._allowance = allowance
        self._fill = survey.fill(self._name)
        self._right, self.margin = np.zeros(self._shape, np.bool_), np.zeros(self._shape, np.float32)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            risk = (-survey.changes(self._name) / survey.margin).astype(np.float32)
        halves = (slice(None, samples), slice(samples, None))
        self.races = tuple(Race(risk[:, half], survey.right[half], seed) for half in halves)

    def choose(self, number: int, passes: int) -> bool:
        """Choose the pairs of a pass, counted from 0; whether there are any.

        All of them where the allowance covers them; else first a random sample, then heats until every neuron is clear,
        then whole neurons from the largest drop on; the last pass takes all that the allowance has left.
        """
        if self._allowance >= self.pairs:
            wanted = [np.full_like(race.measured, number == 0) for race in self.races]
        else:
            wanted = [self._next(race, number, passes) for race in self.races]
        self._wanted = np.concatenate(wanted, axis=1)
        return bool(self._wanted.any())

    def _next(self, race: Race, number: int, passes: int) -> Flags:
        left = self._allowance // 2 - int(race.measured.sum())
        nothing, last = np.zeros_like(race.measured), number == passes - 1
        if not self.rerun.stackable:
            # A run is then for all images of a batch.
            return race.rest(left, nothing) if number == 0 else nothing
        wanted = race.start(left) if number == 0 else nothing
        if number > 0 or last:
            free = left - int(wanted.sum())
            wanted = wanted | race.heat(free if last else free // (passes - number), wanted)
        if last or not wanted.any():
            wanted = wanted | race.rest(left - int(wanted.sum()), wanted)
        return wanted

    def measure(self, attacked: Attacked, kept: Kept, advance: Callable[[int], None]) -> None:
        """Measure the chosen pairs of a batch.

        Args:
            kept: what `rerun` needs of its stacked images.
            advance: told the number of pairs that are done.
        """
        columns = attacked.columns(self._shape[1] // 2)
        wanted = self._wanted[:, columns]
        neurons, rows = np.nonzero(wanted)
        self.ran += len(neurons) if self.rerun.stackable else int(wanted.any(1).sum()) * len(columns)
        labels, fill = attacked.labels.repeat(2), self._fill.to(attacked.labels.device)
        for start in range(0, len(neurons), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            which, where = (torch.from_numpy(places[part]).to(labels.device) for places in (neurons, rows))
            logits = self.rerun.drop_pairs(kept, where, which, fill[which])
            right, margin = verdicts(logits, labels[where])
            place = neurons[part], columns[rows[part]]
            self._right[place], self.margin[place] = right.cpu().numpy(), margin.cpu().float().numpy()
            advance(len(which))

    def close(self) -> None:
        """After a pass over all batches."""
        halves = (np.split(table, 2, axis=1) for table in (self._wanted, self._right))
        for race, wanted, right in zip(self.races, *halves, strict=True):
            race.store(wanted, right)

    def forget(self) -> None:
        """Let go of the tables, once their figures are taken."""
        self.margin = np.zeros((0, 0), np.float32)
        self._wanted = self._right = np.zeros((0, 0), np.bool_)
        self.races = ()


def drop_all(dropouts: Sequence[LayerDropout], batches: Batches, passes: int, advance: Callable[[int], None]) -> int:
    """Measure the layers, each within its allowance, in at most so many passes over the images.

    Args:
        dropouts: prepared.
        batches: the same images on every call, in order.
        advance: told the number of pairs that are done.

    Returns:
        How many passes were run.

    Cost: for each pass a forward of each clean and each adversarial image, and what follows the layer for each pair.
    The values before all layers are held for one batch at a time.
    """
    for attacked in itertools.islice(batches(), 1):
        for dropout in dropouts:
            dropout.rerun.learn(attacked.stacked)
    for number in range(passes):
        active = [dropout for dropout in dropouts if dropout.choose(number, passes)]
        if not active:
            return number
        together = Together([dropout.rerun for dropout in active])
        for attacked in batches():
            for dropout, kept in zip(active, together.keep(attacked.stacked), strict=True):
                dropout.measure(attacked, kept, advance)
        for dropout in active:
            dropout.close()
    return passes


def first_layer(layers: Sequence[Layer]) -> Layer | None:
    """The first convolution, else the first learnable layer, else None."""
    learnable = [layer for layer in layers if layer.info.kind == "learnable" and layer.info.neurons]
    convolutions = [layer for layer in learnable if layer.info.op.startswith("conv")]
    return next(iter(convolutions or learnable), None)
