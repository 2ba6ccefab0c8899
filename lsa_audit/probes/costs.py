"""How many pairs of a neuron and an image a budget pays for in each layer, and what was spent in the end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ..records import Correlation, DropEffect, NeuronTable, Screening
from ..statistics import rank_correlation
from .dropout import LayerDropout

MOST_PASSES = 8
PASS_SHARE = 1 / 6
"""Of the budget, at most, for running what comes before the layers, again in every pass."""
WHOLE_SHARE = 1 / 4
"""Of the budget, at most, for layers that cost so little behind them that they are measured whole."""


@dataclass(frozen=True)
class Plan:
    """How many pairs of each layer may be measured, in how many passes over the images."""

    allowances: tuple[int, ...]
    passes: int


def plan(dropouts: Sequence[LayerDropout], budget: float | None, samples: int) -> Plan:
    """What a budget of so many whole forwards an image pays for; None: everything.

    Each pass runs a forward of each image, clean and adversarial. The layers whose neurons together cost least are
    measured whole, up to a quarter of what is left; of the others the same share of all pairs is measured.
    """
    everything = tuple(dropout.pairs for dropout in dropouts)
    costs = [dropout.pairs * dropout.share for dropout in dropouts]
    if budget is None or sum(costs) + 2 * samples <= budget * samples:
        return Plan(everything, 1)
    passes = min(MOST_PASSES, max(2, int(budget * PASS_SHARE / 2)))
    left = max(0.0, (budget - 2 * passes) * samples)
    cheapest = sorted(range(len(costs)), key=costs.__getitem__)
    sums = itertools.accumulate(costs[place] for place in cheapest)
    whole = {place for place, total in zip(cheapest, sums, strict=True) if total <= WHOLE_SHARE * left}
    rest = sum(cost for place, cost in enumerate(costs) if place not in whole)
    share = (left - sum(costs[place] for place in whole)) / rest if rest else 1.0
    allowances = (pairs if place in whole else int(share * pairs) for place, pairs in enumerate(everything))
    return Plan(tuple(allowances), passes)


class Tally:
    """Adds up over the layers what was measured and what it cost."""

    def __init__(self, budget: float | None, samples: int, passes: int) -> None:
        """Args: the budget; number of images; how often each was run up to the layers."""
        self._budget = budget
        self._samples = samples
        self._spent, self._exact = 2.0 * samples * passes, 2.0 * samples
        self._neurons = self._whole = self._pairs = self._measured = 0
        self._effects: list[DropEffect] = []
        self._sampled: list[DropEffect] = []

    def add(self, dropout: LayerDropout, table: NeuronTable) -> None:
        """One layer, after its run."""
        measured = dropout.measured
        self._spent += int(measured.sum()) * dropout.share
        self._exact += dropout.pairs * dropout.share
        self._neurons += len(measured)
        self._whole += int(measured.all(1).sum())
        self._pairs += dropout.pairs
        self._measured += int(measured.sum())
        effects = [neuron.clean for neuron in table.neurons]
        self._effects += effects
        self._sampled += [effects[index] for index in dropout.sampled]

    def screening(self, seed: int) -> Screening:
        """The sums, costs for each image."""
        return Screening(
            budget=self._budget,
            spent=self._spent / self._samples,
            exact=self._exact / self._samples,
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
