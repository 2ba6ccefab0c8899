"""The race on made-up verdicts: what it spends, what it finds, and whether its bounds hold."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from lsa_audit.measurements.racing import SIGNIFICANCE, Race
from lsa_audit.stats.statistics import holm, mcnemar_loss

NEURONS, IMAGES = 60, 200


def made_up(seed, *, informative=True):
    """Risks [U, N], verdicts of the whole model [N] and without each neuron [U, N]; a few neurons matter much."""
    generator = np.random.default_rng(seed)
    strength = np.exp(generator.normal(-4.0, 1.5, size=(NEURONS, 1)))
    ease = generator.exponential(1.0, size=(1, IMAGES))
    truth = strength / ease * np.exp(generator.normal(0, 0.3, size=(NEURONS, IMAGES)))
    right = generator.random(IMAGES) < 0.9
    without = np.where(truth > 1, ~right, right)
    risk = truth * np.exp(generator.normal(0, 0.5, size=truth.shape))
    if not informative:
        risk = generator.random(truth.shape)
    return risk.astype(np.float32), right, without


def exact_fragile(right, without):
    losses, gains = (right & ~without).sum(1), (~right & without).sum(1)
    return holm(mcnemar_loss(losses, gains)) < SIGNIFICANCE


def _heat(race, parts, left):
    return race.heat(left // parts, np.zeros_like(race.measured))


def _rest(race, besides, left):
    return race.rest(left, besides)


def raced(seed, allowance, **options):
    risk, right, without = made_up(seed, **options)
    race = Race(risk, right, seed)
    left = allowance
    nothing = np.zeros_like(race.measured)
    steps = [race.start, *(partial(_heat, race, 8 - number) for number in range(6)), partial(_rest, race, nothing)]
    for step in steps:
        wanted = step(left)
        assert not (wanted & race.measured).any()
        assert wanted.sum() <= left
        left -= int(wanted.sum())
        race.store(wanted, np.where(wanted, without, False))
    return race, right, without


@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_of_the_pairs_finds_nearly_all_fragile_neurons(seed):
    race, right, without = raced(seed, NEURONS * IMAGES // 5)
    expected = exact_fragile(right, without)
    standing = race.standing()
    found = holm(mcnemar_loss(standing.losses, standing.gains)) < SIGNIFICANCE
    assert expected.sum() >= 3
    assert (found & expected).sum() >= 0.9 * expected.sum()
    assert not (found & ~expected).any()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.06, 0.2, 0.5])
@pytest.mark.parametrize("informative", [True, False])
def test_bounds_hold_for_nearly_all_neurons(seed, share, informative):
    race, right, without = raced(seed, int(share * NEURONS * IMAGES), informative=informative)
    standing = race.standing()
    losses, gains = (right & ~without).sum(1), (~right & without).sum(1)
    assert (standing.losses <= losses).all()
    assert (standing.gains <= gains).all()
    inside = (losses <= standing.most_losses) & (gains <= standing.most_gains)
    assert inside.mean() >= 0.9
    expected = exact_fragile(right, without)
    assert not (standing.surely_fragile & ~expected & inside).any()
    assert not (standing.surely_not & expected & inside).any()


def test_a_race_that_measured_everything_knows_everything():
    risk, right, without = made_up(1)
    race = Race(risk, right, 0)
    race.store(np.ones_like(race.measured), without)
    standing = race.standing()
    assert standing.losses.tolist() == standing.most_losses.tolist() == (right & ~without).sum(1).tolist()
    assert standing.drop.tolist() == ((right & ~without).sum(1) - (~right & without).sum(1)).tolist()
    assert (standing.surely_fragile ^ standing.surely_not).all()
    assert not race.heat(10**9, np.zeros_like(race.measured)).any()
    assert not race.rest(10**9, np.zeros_like(race.measured)).any()


def test_nothing_measured_bounds_nothing():
    risk, right, _ = made_up(1)
    race = Race(risk, right, 0)
    assert not race.start(0).any()
    standing = race.standing()
    assert (standing.most_losses == right.sum()).all()
    assert not (standing.surely_fragile | standing.surely_not).any()


def test_without_random_draws_the_estimates_say_what_to_expect():
    risk, right, _ = made_up(1)
    standing = Race(risk, right, 0).standing()
    assert standing.expected_losses == pytest.approx(((risk > 1) & right).sum(1))
    assert standing.expected_gains == pytest.approx(((risk > 1) & ~right).sum(1))


def test_neurons_that_are_clear_leave_the_race():
    race, right, without = raced(2, NEURONS * IMAGES)
    assert race.measured.all()
    risk, right, without = made_up(2)
    race = Race(risk, right, 2)
    race.store(race.start(NEURONS * IMAGES), without)
    spent = []
    while (wanted := race.heat(500, np.zeros_like(race.measured))).any():
        race.store(wanted, without)
        spent.append(int(wanted.sum()))
    standing = race.standing()
    assert (standing.surely_fragile | standing.surely_not).all()
    assert race.measured.mean() < 0.9
    assert len(spent) > 1


def test_the_rest_leaves_out_what_is_measured_anyway():
    risk, right, _ = made_up(3)
    race = Race(risk, right, 3)
    besides = np.zeros_like(race.measured)
    besides[:, ::2] = True
    rest = race.rest(10 * IMAGES, besides)
    assert not (rest & besides).any()
    assert rest.sum() == 10 * IMAGES
    assert set(rest.sum(1)) == {0, IMAGES // 2}


def test_unknown_risks_come_first():
    risk = np.full((1, 10), 0.1, dtype=np.float32)
    risk[0, 1] = np.nan
    race = Race(risk, np.ones(10, np.bool_), 0)
    assert np.flatnonzero(race.heat(1, np.zeros_like(race.measured))[0]).tolist() == [1]


def test_the_same_seed_draws_the_same_pairs():
    risk, right, _ = made_up(0)
    first, again, other = (Race(risk, right, seed).start(3000) for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()
