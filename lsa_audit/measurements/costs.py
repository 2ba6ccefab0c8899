"""How many pairs of a neuron and an image a budget pays for in each layer, and what was spent in the end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..records import Correlation, DropEffect, NeuronTable, Screening
from ..stats.statistics import rank_correlation
from .dropout import LayerDropout

MOST_PASSES = 8
BUDGET_A_PASS = 8.0
"""A pass costs up to two forwards an image: one is made for so much of the budget."""
WHOLE_SHARE = 1 / 4
"""Of the budget, at most, for layers that cost so little behind them that they are measured whole."""
GROUP_PAIRS = 2**27
"""Of a neuron and an image that are worked on at the same time, at about 20 bytes each."""


@dataclass(frozen=True)
class Plan:
    """How many pairs of each layer may be measured, in how many passes over the images.

    Attributes:
        groups: the layers, by position, that share their passes.
    """

    allowances: tuple[int, ...]
    passes: int
    groups: tuple[range, ...]


def plan(dropouts: Sequence[LayerDropout], budget: float | None, samples: int) -> Plan:
    """What a budget of so many whole forwards an image pays for, at least one pass; None: everything.

    Each pass of a group runs a forward of each image, clean and adversarial. The layers whose neurons together cost
    least are measured whole, up to a quarter of what is left; of the others the same share of all pairs is measured.
    """
    everything = tuple(dropout.pairs for dropout in dropouts)
    groups = tuple(_groups(everything))
    costs = [dropout.pairs * dropout.share for dropout in dropouts]
    a_pass = len(groups) * pass_cost(dropouts, samples)
    if budget is None or sum(costs) + a_pass <= budget * samples:
        return Plan(everything, 1, groups)
    passes = min(MOST_PASSES, max(1, int(budget / BUDGET_A_PASS)))
    left = max(0.0, budget * samples - passes * a_pass)
    cheapest = sorted(range(len(costs)), key=costs.__getitem__)
    sums = itertools.accumulate(costs[place] for place in cheapest)
    whole = {place for place, total in zip(cheapest, sums, strict=True) if total <= WHOLE_SHARE * left}
    rest = sum(cost for place, cost in enumerate(costs) if place not in whole)
    share = (left - sum(costs[place] for place in whole)) / rest if rest else 1.0
    allowances = (pairs if place in whole else int(share * pairs) for place, pairs in enumerate(everything))
    return Plan(tuple(allowances), passes, groups)


def pass_cost(dropouts: Sequence[LayerDropout], samples: int) -> float:
    """What a pass over clean and adversarial images costs in whole forwards before any neuron is dropped; a model
    without a graph runs nothing then."""
    return 2.0 * samples if any(dropout.rerun.exact_suffix for dropout in dropouts) else 0.0


def _groups(pairs: Sequence[int]) -> Iterator[range]:
    """Neighbouring layers with so few pairs together that they can be worked on at the same time."""
    start, held = 0, 0
    for place, count in enumerate(pairs):
        if place > start and held + count > GROUP_PAIRS:
            yield range(start, place)
            start, held = place, 0
        held += count
    yield range(start, len(pairs))


class Tally:
    """Adds up over the layers what was measured and what it cost."""

    def __init__(self, budget: float | None, samples: int) -> None:
        self._budget = budget
        self._samples = samples
        self._spent = self._exact = 0.0
        self._neurons = self._whole = self._pairs = self._measured = 0
        self._effects: list[DropEffect] = []
        self._sampled: list[DropEffect] = []

    def add_passes(self, passes: int, a_pass: float) -> None:
        """So many passes of a group of layers, each at that cost in whole forwards."""
        self._spent += passes * a_pass
        self._exact += a_pass

    def add(self, dropout: LayerDropout, table: NeuronTable) -> None:
        """One layer, after its run."""
        measured = dropout.measured
        self._spent += dropout.ran * dropout.share
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
