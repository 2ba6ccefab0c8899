"""What before and after amount to, and the statistics that decide it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lsa_audit.records.repair import Strengths, TriedStrengths
from lsa_audit.repairing.choice import Floor, best
from lsa_audit.repairing.outcome import compare, settle
from lsa_audit.stats.statistics import estimate, mcnemar_change, paired_difference


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 0), (0, 5), (7, 3), (40, 40)])
def test_mcnemar_is_the_binomial_test(gained, lost):
    total = gained + lost
    tail = sum(math.comb(total, count) for count in range(max(gained, lost), total + 1)) / 2**total
    assert mcnemar_change(gained, lost) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar_change(gained, lost) == mcnemar_change(lost, gained)


@pytest.mark.parametrize(
    ("gained", "lost", "total"), [(12, 2, 100), (0, 0, 10), (1, 0, 1), (0, 900, 1000), (50, 50, 100)]
)
def test_the_interval_of_a_paired_difference_is_the_published_formula(gained, lost, total):
    first, second = (gained + 1) / (total + 2), (lost + 1) / (total + 2)
    half = 1.959964 * math.sqrt((first + second - (first - second) ** 2) / (total + 2))
    difference, low, high = paired_difference(gained, lost, total)
    assert difference == (gained - lost) / total
    assert low == pytest.approx(max(-1, first - second - half), abs=1e-6)
    assert high == pytest.approx(min(1, first - second + half), abs=1e-6)
    assert low <= difference <= high


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    gain, loss, total = 0.12, 0.05, 80
    drawn = generator.multinomial(total, [gain, loss, 1 - gain - loss], size=2000)
    inside = 0
    for gained, lost, _ in drawn.tolist():
        _, low, high = paired_difference(gained, lost, total)
        inside += low <= gain - loss <= high
    assert inside / 2000 > 0.94


def changed(name, gained, lost, total=200, before=100):
    flags = np.zeros(total, dtype=bool)
    flags[:before] = True
    after = flags.copy()
    after[:lost] = False
    after[before : before + gained] = True
    return compare(name, flags, after)


def test_gained_and_lost_are_counted_on_pairs():
    found = changed("pgd", 30, 10)
    assert (found.before.count, found.after.count, found.gained, found.lost) == (100, 120, 30, 10)
    assert found.difference == 0.1
    assert found.p_value == pytest.approx(stats.binomtest(30, 40).pvalue)


@pytest.mark.parametrize(
    ("clean", "pgd", "cascade", "outcome"),
    [
        ((0, 0), (30, 2), (30, 2), "helped"),
        ((0, 2), (30, 2), (30, 2), "helped"),
        ((0, 3), (30, 2), (30, 2), "not-helped"),
        ((0, 30), (30, 2), (30, 2), "harmed"),
        ((0, 0), (5, 2), (5, 2), "not-helped"),
        ((0, 0), (0, 0), (0, 0), "not-helped"),
        ((0, 0), (30, 2), (5, 2), "masked"),
        ((0, 0), (30, 2), (2, 30), "masked"),
        ((0, 0), (5, 2), (30, 2), "not-helped"),
        ((0, 0), (2, 30), (30, 2), "harmed"),
        ((0, 0), (0, 0), (2, 30), "harmed"),
    ],
)
def test_outcomes(clean, pgd, cascade, outcome):
    attacked = [changed("pgd", *pgd), changed("cascade", *cascade)]
    assert settle(changed("clean", *clean), attacked, max_clean_drop=0.01) == outcome


def test_the_floor_takes_counts_not_rounded_shares():
    assert Floor.below(90, 100, 0.1).holds(80)
    assert not Floor.below(90, 100, 0.1).holds(79)
    assert Floor.below(3, 3, 0.0).holds(3)


def candidate(robust, change, strengths):
    found = None if robust is None else estimate(robust, 100)
    return TriedStrengths(strengths=strengths, change=change, clean=estimate(90, 100), robust=found)


def test_of_equals_the_smaller_change_is_chosen_and_what_was_not_attacked_never():
    none, small, large, lossy = (Strengths(fragile=value, robust=0) for value in (0.0, 0.1, 0.3, 1.0))
    rows = [candidate(40, 0.0, none), candidate(50, 0.2, large), candidate(50, 0.1, small), candidate(None, 0.3, lossy)]
    assert best(rows) == small
    assert best([candidate(40, 0.0, none), candidate(40, 0.1, small)]) == none
