"""How many pairs of a neuron and an image a budget pays for in each layer, and what was spent in the end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ..records import Correlation, DropEffect, NeuronTable, Screening
from ..statistics import rank_correlation
from .dropout import LayerDropout

MOST_FREE = 2.0
"""Forwards an image and version: a layer whose neurons all together cost less behind it is measured whole."""


def allowances(dropouts: Sequence[LayerDropout], budget: float | None, samples: int) -> list[int]:
    """How many pairs of each layer may be measured.

    What comes before each layer must be run in any case, and a layer whose neurons cost next to nothing is measured
    whole; of the other layers the same share of all pairs is measured.
    """
    if budget is None:
        return [dropout.pairs for dropout in dropouts]
    images = 2 * samples
    before = sum(dropout.cost_before(images) for dropout in dropouts)
    behind = [dropout.exact_cost - dropout.cost_before(images) for dropout in dropouts]
    free = [cost <= MOST_FREE * images for cost in behind]
    left = budget * samples - before - sum(itertools.compress(behind, free))
    rest = sum(behind) - sum(itertools.compress(behind, free))
    share = min(1.0, max(0.0, left / rest)) if rest else 1.0
    return [
        dropout.pairs if whole else int(share * dropout.pairs) for dropout, whole in zip(dropouts, free, strict=True)
    ]


class Tally:
    """Adds up over the layers what was measured and what it cost."""

    def __init__(self, budget: float | None) -> None:
        self._budget = budget
        self._spent = self._exact = 0.0
        self._neurons = self._whole = self._pairs = self._measured = 0
        self._effects: list[DropEffect] = []
        self._sampled: list[DropEffect] = []

    def add(self, dropout: LayerDropout, table: NeuronTable) -> None:
        """One layer, after its run."""
        measured = dropout.measured
        self._spent += dropout.cost
        self._exact += dropout.exact_cost
        self._neurons += len(measured)
        self._whole += int(measured.all(1).sum())
        self._pairs += dropout.pairs
        self._measured += int(measured.sum())
        effects = [neuron.clean for neuron in table.neurons]
        self._effects += effects
        self._sampled += [effects[index] for index in dropout.sampled]

    def screening(self, samples: int, seed: int) -> Screening:
        """The sums, costs for each image."""
        return Screening(
            budget=self._budget,
            spent=self._spent / samples,
            exact=self._exact / samples,
            neurons=self._neurons,
            neurons_measured=self._whole,
            pairs=self._pairs,
            pairs_measured=self._measured,
            agreement=self._agreement(seed),
        )

    def _agreement(self, seed: int) -> Correlation:
        """Over all neurons where all were measured, else over the random sample of them."""
        effects = self._effects if self._measured == self._pairs else self._sampled
        return rank_correlation(
            ("estimated_margin_drop", "margin_drop"),
            [effect.estimated_margin_drop for effect in effects],
            [effect.margin_drop for effect in effects],
            seed,
        )
