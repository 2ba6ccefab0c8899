"""Which neuron to drop on which image next, when not every pair can be measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..stats.statistics import CONFIDENCE, Floats, holm, mcnemar_loss

SIGNIFICANCE = 0.05
SAMPLED_NEURONS = 0.02
LEAST_SAMPLED = 2
"""Share of a layer's neurons that are drawn at random and dropped on every image, to see how good the estimates are,
and how many of them at least."""
SCATTERED_PAIRS = 0.03
SCATTERED_EACH = 32
"""Pairs drawn at random from each stratum of risk: this share of it, and at least so many."""
QUANTILES = 1 - 0.5 ** np.arange(1, 8)
FEWEST_DRAWS = 8
LEAST_ALIKE, MOST_ALIKE = 0.1, 100.0
UPPER = (1 + CONFIDENCE) / 2

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Standing:
    """What is known of U neurons. Changes on images that were not measured are expected, or bounded at 95 %.

    Attributes:
        losses, gains: [U], of the measured images.
        expected_losses, expected_gains: [U], on the others.
        most_losses, most_gains: [U], measured ones and the upper bounds of the others.
    """

    losses: Counts
    gains: Counts
    expected_losses: Floats
    expected_gains: Floats
    most_losses: Counts
    most_gains: Counts

    @property
    def surely_fragile(self) -> Flags:
        """[U], significant losses even with the most gains."""
        return holm(mcnemar_loss(self.losses, self.most_gains)) < SIGNIFICANCE

    @property
    def surely_not(self) -> Flags:
        """[U], no significant losses even with the most losses."""
        return holm(mcnemar_loss(self.most_losses, self.gains)) >= SIGNIFICANCE

    @property
    def drop(self) -> Floats:
        """Losses minus gains, with the expected ones: [U]."""
        drop: Floats = self.losses - self.gains + self.expected_losses - self.expected_gains
        return drop


class Race:
    """Measured and open pairs of U neurons and N images.

    A pair's risk is the share of the image's margin that dropping the neuron is estimated to take; above 1 the verdict
    is estimated to change. Pairs of like risk form a stratum. Some pairs of every stratum are measured at random; how
    many of their verdicts change tells what to expect of the open ones (Clopper-Pearson for the bound of the share, a
    gamma-Poisson model for how far a neuron departs from its strata, Poisson for its count). Neurons race: a heat takes
    the riskiest pairs of those for which it is not clear yet, whatever the open pairs hold, whether the losses are
    significant under Holm's correction over the layer.

    Attributes:
        sampled: neurons drawn at random, to be measured on every image as far as the allowance goes.
        measured, changed: [U, N], the pairs that were measured, and those of them whose verdict changed.
    """

    def __init__(self, risk: NDArray[np.float32], right: Flags, seed: int) -> None:
        """Args: risk [U, N], NaN where it is not known; right [N], verdicts of the whole model; seed of the draws."""
        self._risk = np.where(np.isnan(risk), np.inf, risk)
        self._right = right
        self._generator = np.random.default_rng(seed)
        finite = self._risk[np.isfinite(self._risk)]
        edges = np.unique(np.quantile(finite, QUANTILES)) if finite.size else np.empty(0)
        self._stratum = np.searchsorted(edges, self._risk).astype(np.int8)
        self._strata = len(edges) + 1
        self._scattered = np.zeros(risk.shape, np.bool_)
        neurons = len(risk)
        drawn = self._generator.permutation(neurons)[: max(LEAST_SAMPLED, round(SAMPLED_NEURONS * neurons))]
        self.sampled: Counts = np.sort(drawn)
        self.measured: Flags = np.zeros(risk.shape, np.bool_)
        self.changed: Flags = np.zeros(risk.shape, np.bool_)

    def start(self, allowance: int) -> Flags:
        """The random pairs to begin with: [U, N]; those that fit into the allowance."""
        for stratum in range(self._strata):
            members = np.flatnonzero(self._stratum == stratum)
            count = min(len(members), max(SCATTERED_EACH, round(SCATTERED_PAIRS * len(members))))
            self._scattered.flat[self._generator.choice(members, count, replace=False)] = True
        drawn = self._generator.permutation(np.flatnonzero(self._scattered))
        self._scattered.flat[drawn[allowance:]] = False
        wanted = self._scattered.copy()
        wanted[self.sampled[: max(0, allowance - len(drawn)) // self._risk.shape[1]]] = True
        return wanted

    def heat(self, size: int, besides: Flags) -> Flags:
        """The riskiest open pairs of the neurons that are not clear yet, at most `size`: [U, N].

        Args:
            besides: pairs that are measured anyway.
        """
        wanted = np.zeros_like(self.measured)
        if size <= 0:
            return wanted
        standing = self.standing()
        racing = ~(standing.surely_fragile | standing.surely_not)
        places = np.flatnonzero(racing[:, None] & ~(self.measured | besides))
        if len(places) > size:
            places = places[np.argpartition(-self._risk.flat[places], size - 1)[:size]]
        wanted.flat[places] = True
        return wanted

    def rest(self, allowance: int, besides: Flags) -> Flags:
        """The open pairs of whole neurons, largest drops first, as many as the allowance holds: [U, N].

        Args:
            besides: pairs that are measured anyway.
        """
        free = ~(self.measured | besides)
        counts = free.sum(1)
        wanted = np.zeros_like(free)
        for neuron in np.argsort(-self.standing().drop, kind="stable"):
            if counts[neuron] <= allowance:
                allowance -= int(counts[neuron])
                wanted[neuron] = free[neuron]
        return wanted

    def store(self, wanted: Flags, right: Flags) -> None:
        """The verdicts [U, N] on the pairs that were wanted."""
        self.measured |= wanted
        self.changed = np.where(wanted, right != self._right, self.changed)

    def standing(self) -> Standing:
        """What is known now."""
        drawn, changed = self._counts(self._scattered & self.measured), self._counts(self._scattered & self.changed)
        rates, most = _rates(drawn.sum(0), changed.sum(0))
        thin = drawn.sum(0) < FEWEST_DRAWS
        own, own_most = _factors(
            spread=_spread(changed.sum(1), drawn @ rates),
            found=self.changed.sum(1),
            expected=self._counts(self.measured) @ rates,
        )
        sides = [self._side(side, rates, most, own, own_most, thin) for side in (self._right, ~self._right)]
        (losses, expected_losses, most_losses), (gains, expected_gains, most_gains) = sides
        return Standing(losses, gains, expected_losses, expected_gains, most_losses, most_gains)

    def _side(
        self, side: Flags, rates: Floats, most: Floats, own: Floats, own_most: Floats, thin: Flags
    ) -> tuple[Counts, Floats, Counts]:
        """Changes found, expected beside them, and at most, among the images of one side [N]: [U] each.

        Where too few random pairs of a stratum were measured, the estimate itself says what to expect.
        """
        found = (self.changed & side).sum(1)
        free = ~self.measured & side
        pairs = self._counts(free)
        bound = found + _most(own_most * (pairs @ most), pairs.sum(1))
        foreseen = (free & thin[self._stratum] & (self._risk > 1) & np.isfinite(self._risk)).sum(1)
        expected = own * (pairs @ np.where(thin, 0.0, rates)) + foreseen
        return found, np.minimum(expected, bound - found), bound

    def _counts(self, pairs: Flags) -> Counts:
        """How many of some pairs each neuron has in each stratum: [U, strata]."""
        return np.stack([(pairs & (self._stratum == stratum)).sum(1) for stratum in range(self._strata)], axis=1)


def _rates(drawn: Counts, changed: Counts) -> tuple[Floats, Floats]:
    """For each stratum the share of random pairs whose verdict changes, and its upper bound (Clopper-Pearson)."""
    most = stats.beta.ppf(UPPER, changed + 1, np.maximum(drawn - changed, 1e-9))
    return changed / np.maximum(drawn, 1), np.where(drawn > changed, most, 1.0)


def _spread(found: Counts, expected: Floats) -> float:
    """How unlike neurons are that the strata take as alike: the shape of a gamma distribution of mean 1 of a factor on
    the expected changes, by its moments; small for much unlike ones."""
    beyond_chance = float(((found - expected) ** 2 - expected).sum())
    shape = float((expected**2).sum()) / max(beyond_chance, 1e-9)
    return min(max(shape, LEAST_ALIKE), MOST_ALIKE)


def _factors(spread: float, found: Counts, expected: Floats) -> tuple[Floats, Floats]:
    """Each neuron's own factor on the expected changes given those found in it: its mean and its upper bound, [U]."""
    shape, rate = spread + found, spread + expected
    return shape / rate, np.asarray(stats.gamma.ppf(UPPER, shape) / rate)


def _most(mean: Floats, pairs: Counts) -> Counts:
    """Upper bound of a number of changes among so many pairs, of which `mean` are expected: [U]."""
    bound = np.where(mean > 0, stats.poisson.ppf(UPPER, mean), 0)
    most: Counts = np.minimum(bound, pairs).astype(np.int64)
    return most
