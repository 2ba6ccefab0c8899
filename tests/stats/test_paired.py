"""The paired test against enumerations of all outcomes, closed cases and its own promises."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import optimize, stats

from lsa_audit.stats import paired
from lsa_audit.stats.paired import drop, images_needed, p_value
from lsa_audit.stats.statistics import mcnemar_loss

ALPHA = 0.05


def slow_score(lost: int, gained: int, images: int, margin: float) -> float:
    """Tango's statistic with the share of gained images found by search."""

    def loss(rate: float) -> float:
        shares = (rate + margin, rate, 1 - 2 * rate - margin)
        counts = (lost, gained, images - lost - gained)
        return -sum(count * math.log(share) for count, share in zip(counts, shares, strict=True) if count)

    low, high = max(0.0, -margin) + 1e-12, (1 - margin) / 2 - 1e-12
    rate = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (lost - gained - images * margin) / math.sqrt(images * (2 * rate + margin * (1 - margin)))


def probabilities(images: int, discordance: float, true_drop: float) -> dict[tuple[int, int], float]:
    """Of every (lost, gained)."""
    shares = [(discordance + true_drop) / 2, (discordance - true_drop) / 2, 1 - discordance]
    outcomes = [(lost, gained) for lost in range(images + 1) for gained in range(images + 1 - lost)]
    counts = [(lost, gained, images - lost - gained) for lost, gained in outcomes]
    return dict(zip(outcomes, stats.multinomial.pmf(counts, images, np.abs(shares)), strict=True))


def slow_p_value(lost: int, gained: int, images: int, margin: float) -> float:
    """Every outcome, every discordance of a fine grid of the exact interval."""
    interval = stats.binomtest(lost + gained, images).proportion_ci(1 - paired.MISSED * ALPHA, method="exact")
    low, high = max(interval.low, abs(margin)), max(interval.high, abs(margin))
    seen = slow_score(lost, gained, images, margin)
    found = 0.0
    for discordance in np.linspace(low, high, 201):
        mass = probabilities(images, discordance, margin)
        found = max(
            found, sum(one for outcome, one in mass.items() if scores[(*outcome, images, margin)] >= seen - 1e-5)
        )
    return min(found + paired.MISSED * ALPHA, 1.0)


class Scores(dict):
    def __missing__(self, key):
        self[key] = slow_score(*key)
        return self[key]


scores = Scores()


@pytest.mark.parametrize(
    ("lost", "gained", "images", "margin"),
    [
        (3, 0, 8, 0.02),
        (4, 1, 8, 0.1),
        (0, 3, 8, -0.1),
        (1, 4, 7, 0.2),
        (2, 2, 8, -0.3),
        (6, 0, 6, 0.3),
        (1, 0, 1, 0.02),
    ],
)
def test_the_p_value_is_that_of_the_enumeration(lost, gained, images, margin):
    assert p_value(lost, gained, images, margin, ALPHA) == pytest.approx(
        slow_p_value(lost, gained, images, margin), abs=5e-4
    )


@pytest.mark.parametrize(("lost", "gained", "images"), [(40, 25, 200), (9, 0, 100), (12, 14, 60)])
def test_without_a_margin_it_is_mcnemar_but_for_the_discordance(lost, gained, images):
    """The unconditional test is never much weaker than the conditional one, and near it."""
    found, exact = p_value(lost, gained, images, 0.0, ALPHA), float(mcnemar_loss(lost, gained))
    assert found <= exact + 2 * paired.MISSED * ALPHA
    assert found == pytest.approx(exact, rel=0.5)


@pytest.mark.slow_except("1.0-0.1")
@pytest.mark.parametrize("margin", [0.02, 0.1])
@pytest.mark.parametrize("discordance", [0.0, 0.03, 0.1, 0.3, 0.6, 1.0])
def test_no_verdict_is_wrong_more_often_than_alpha(margin, discordance):
    """Exact, over every outcome of 20 images; a true drop at the margin is the worst case of either error."""
    mass = probabilities(20, max(discordance, margin), margin)
    failed = sum(one for outcome, one in mass.items() if p_value(*outcome, 20, margin, ALPHA) <= ALPHA)
    passed = sum(one for (lost, gained), one in mass.items() if p_value(gained, lost, 20, -margin, ALPHA) <= ALPHA)
    assert max(failed, passed) <= ALPHA


def test_unchanged_models_fail_less_often_still():
    mass = probabilities(20, 0.1, 0.0)
    assert sum(one for outcome, one in mass.items() if p_value(*outcome, 20, 0.02, ALPHA) <= ALPHA) <= ALPHA


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("gained", [0, 2, 3, 9])
def test_more_lost_is_never_better(margin, gained):
    kept = [p_value(gained, lost, 20, -margin, ALPHA) for lost in range(21 - gained)]
    assert all(after >= before - 1e-4 for before, after in pairwise(kept) if before <= 0.5)
    # Above one half a p-value may fall when one more image is discordant, but by far not to where it passes.
    assert all(later > 0.5 for place, one in enumerate(kept) if one > 0.5 for later in kept[place:])
    broken = [p_value(lost, gained, 20, margin, ALPHA) for lost in range(21 - gained)]
    assert all(after <= before + 1e-4 for before, after in pairwise(broken) if after <= 0.5)


def test_the_score_rises_with_the_lost_at_every_margin():
    for margin in (-0.9, -0.2, -0.01, 0.0, 0.01, 0.2, 0.9):
        for discordant in range(1, 21):
            lost = np.arange(discordant + 1)
            assert (np.diff(paired._score(lost, discordant - lost, 20, margin)) > 0).all()


@pytest.mark.parametrize(
    ("lost", "gained", "images", "margin", "alpha"),
    [
        (19, 19, 770, 0.02, 0.05),
        (60, 10, 770, 0.02, 0.05),
        (5, 2, 60, 0.02, 0.01),
        (30, 0, 30, 0.5, 0.05),
        (0, 0, 20, 0.0, 0.05),
        (0, 40, 100, 0.0, 0.05),
        (1, 0, 1, 0.02, 0.05),
        (0, 1, 1, 0.02, 0.4),
    ],
)
def test_bounds_lie_around_what_was_seen_and_agree_with_the_tests(lost, gained, images, margin, alpha):
    decision = drop(lost, gained, images, margin, alpha)
    assert -1 <= decision.low <= decision.seen <= decision.high <= 1
    assert (decision.p_broken <= alpha) == (decision.low >= margin)
    assert (decision.p_kept <= alpha) == (decision.high <= margin)
    assert (decision.needed is None) == (min(decision.p_broken, decision.p_kept) <= alpha or decision.seen == margin)
    assert decision.needed is None or decision.needed > images


def test_the_edge_of_a_bound_is_where_the_test_turns():
    decision = drop(40, 10, 1000, 0.02, ALPHA)
    assert p_value(40, 10, 1000, decision.low, ALPHA) <= ALPHA < p_value(40, 10, 1000, decision.low + 1e-4, ALPHA)
    assert p_value(10, 40, 1000, -decision.high, ALPHA) <= ALPHA < p_value(10, 40, 1000, -decision.high + 1e-4, ALPHA)


def test_nothing_changed_passes_with_enough_images_and_a_margin():
    assert drop(0, 0, 1000, 0.02, ALPHA).p_kept < 0.001
    few = drop(0, 0, 50, 0.02, ALPHA)
    assert min(few.p_kept, few.p_broken) > ALPHA
    assert few.needed is not None
    none = drop(0, 0, 1000, 0.0, ALPHA)
    assert (none.p_kept, none.needed) == (1.0, None)


def test_all_lost_fails():
    decision = drop(30, 0, 30, 0.02, ALPHA)
    assert decision.seen == 1.0
    assert decision.p_broken < 0.001 < decision.p_kept


def test_the_number_that_is_announced():
    inconclusive = drop(8, 5, 200, 0.02, ALPHA)
    bound = stats.beta.ppf(0.8, 14, 187)
    assert inconclusive.needed == images_needed(bound, 0.0, 0.02, ALPHA)
    worse = drop(11, 4, 200, 0.02, ALPHA)
    assert worse.needed == images_needed(stats.beta.ppf(0.8, 16, 185), 7 / 200, 0.02, ALPHA)
    by_chance = drop(8, 2, 50, 0.02, ALPHA)
    discordance = stats.beta.ppf(0.8, 11, 40)
    cautious = 6 / 50 - stats.norm.ppf(0.8) * math.sqrt(discordance / 50)
    assert 0.04 < cautious < 0.12
    assert by_chance.needed == images_needed(discordance, cautious, 0.02, ALPHA)
    without_margin = drop(3, 1, 50, 0.0, ALPHA)
    assert without_margin.needed == images_needed(stats.beta.ppf(0.8, 5, 46), 2 / 50, 0.0, ALPHA)


@pytest.mark.parametrize(
    ("discordance", "true_drop", "margin", "normal"), [(0.05, 0.0, 0.02, 773), (0.2, 0.0, 0.02, 3091)]
)
def test_the_exact_number_is_a_little_above_that_of_the_normal_formula(discordance, true_drop, margin, normal):
    assert normal <= images_needed(discordance, true_drop, margin, ALPHA) <= 1.1 * normal


@pytest.mark.slow_except("0.05-0.0-0.1", "0.5-0.5-0.2")
@pytest.mark.parametrize(
    ("discordance", "true_drop", "margin"), [(0.1, 0.0, 0.1), (0.05, 0.0, 0.1), (0.5, 0.5, 0.2), (0.3, 0.1, 0.3)]
)
def test_the_exact_test_has_the_power_at_that_number(discordance, true_drop, margin):
    images = images_needed(discordance, true_drop, margin, ALPHA)
    assert images <= 120
    mass = probabilities(images, discordance, true_drop)
    likely = {outcome: one for outcome, one in mass.items() if one > 1e-5}
    decided = 0.0
    for (lost, gained), one in likely.items():
        kept, broken = p_value(gained, lost, images, -margin, ALPHA), p_value(lost, gained, images, margin, ALPHA)
        decided += one * (min(kept, broken) <= ALPHA)
    assert decided >= 0.79


def test_no_number_decides_at_the_margin_or_beyond_ten_million():
    assert images_needed(0.05, 0.02, 0.02, ALPHA) is None
    assert images_needed(0.5, 0.0, 1e-4, ALPHA) is None
    assert images_needed(1e-3, 0.0, 1e-3, ALPHA) < 10**5
    assert images_needed(1.0, 1.0, 0.02, ALPHA) < 10
