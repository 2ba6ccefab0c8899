"""What the verdicts add up to: summaries, distances, sweeps, comparisons, saved images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsa_audit.scanning.attacking import Judged
from lsa_audit.scanning.verdicts import Verdicts, breaking_epsilons, comparisons, digest, from_saved, sweeps

from ..attacks.linear import linear_case
from .test_attacking import batch_of, bench_of, perturbation


def verdicts_of(name: str, epsilon: float, right: str, **changes) -> Verdicts:
    """Verdicts from a string of 1 (right) and 0, all attacked."""
    found = Verdicts.empty(perturbation(name, epsilon, **changes), len(right))
    found.right[:] = [mark == "1" for mark in right]
    found.attacked[:] = True
    return found


CLEAN = np.array([True, True, True, True, False])


def by_id(*entries: Verdicts) -> dict[str, Verdicts]:
    return {entry.perturbation.id: entry for entry in entries}


def test_an_image_breaks_at_the_smallest_epsilon_that_fools_it():
    entries = [verdicts_of("pgd", 0.3, "00010"), verdicts_of("pgd", 0.1, "11110"), verdicts_of("pgd", 0.2, "10110")]
    assert breaking_epsilons(entries).tolist() == [0.3, 0.2, 0.3, np.inf, 0.1]
    ((name, (sweep, broken)),) = sweeps(by_id(*entries), CLEAN).items()
    assert name == "pgd@linf"
    assert sweep.epsilons == (0.1, 0.2, 0.3)
    assert sweep.first_fooled == (0, 1, 2)
    assert sweep.unbroken == 1
    assert sweep.median == 0.3
    assert broken.tolist() == breaking_epsilons(entries).tolist()


def test_one_epsilon_and_noise_are_no_sweep():
    entries = by_id(
        verdicts_of("pgd", 0.1, "11110"),
        verdicts_of("salt", 0.1, "11110", kind="noise"),
        verdicts_of("salt", 0.2, "11110", kind="noise"),
    )
    assert sweeps(entries, CLEAN) == {}


@pytest.mark.parametrize(
    ("first", "second", "suspicion"),
    [
        (("fgsm", 0.1), ("pgd", 0.1), "more-steps"),
        (("pgd", 0.1), ("pgd", 0.2), "larger-epsilon"),
        (("square", 0.1), ("pgd", 0.1), "black-box"),
        (("salt", 0.1), ("fgsm", 0.1), "noise"),
        (("pgd", 0.1), ("fgsm", 0.1), None),
        (("pgd", 0.1), ("apgd-ce", 0.2), None),
        (("pgd", 0.1), ("square", 0.1), None),
        (("fgsm", 0.1), ("layer-pgd", 0.1), None),
        (("ddn", 0.1), ("ddn", 0.2), None),
    ],
)
def test_pairs_of_which_one_should_be_at_least_as_strong(first, second, suspicion):
    weaker = verdicts_of(*first, "00110", kind="noise" if first[0] == "salt" else "attack")
    stronger = verdicts_of(*second, "10110")
    found = [pair for pair in comparisons(by_id(weaker, stronger), CLEAN) if pair.stronger == stronger.perturbation.id]
    if suspicion is None:
        assert found == []
        return
    (pair,) = found
    assert (pair.suspicion, pair.weaker) == (suspicion, weaker.perturbation.id)
    # Image 0 fell to the weaker one alone; image 1 to both; image 4 was wrong before.
    assert (pair.missed, pair.robust) == (1, 3)


def test_another_norm_is_never_compared():
    entries = by_id(verdicts_of("fgsm", 0.1, "00110"), verdicts_of("pgd", 0.1, "10110", norm="l2", id="pgd@l2-0.1"))
    assert comparisons(entries, CLEAN) == ()


def test_distances_count_what_was_not_found_as_infinitely_far():
    entry = Verdicts.empty(perturbation("ddn", 0.1, "l2", minimal=True), 5)
    entry.distance[:] = [0.3, np.inf, 0.1, 0.2, 0.0]
    summary = entry.result(CLEAN, seed=0).distances
    assert (summary.found, summary.total) == (3, 4)
    assert (summary.quartile, summary.median, summary.upper_quartile) == (0.1, 0.2, 0.3)
    assert summary.median_low <= summary.median
    entry.distance[:] = [np.inf, np.inf, np.inf, 0.2, 0.0]
    assert entry.result(CLEAN, seed=0).distances.median is None


def test_a_summary_is_about_the_images_that_are_right_before():
    entry = verdicts_of("pgd", 0.1, "10110")
    entry.linf[:] = [0.1, 0.05, 0.1, 0.1, 9.0]
    entry.vanishing_gradient[:] = [True, True, False, False, True]
    entry.rises[:], entry.climbs[:] = [9, 0, 9, 0, 9], [10, 10, 10, 10, 10]
    entry.fooled_later[:] = [False, True, False, False, True]
    result = entry.result(CLEAN, seed=0)
    assert (result.robust_accuracy.count, result.fooled, result.attacked) == (3, 1, 4)
    assert result.mean_linf == pytest.approx(0.0875)
    assert result.signs.vanishing_gradient == 1
    assert result.signs.fooled_later == 1
    assert result.signs.rising_share == pytest.approx(18 / 30)


@pytest.mark.parametrize("exact", [True, False])
def test_images_are_saved_so_that_nothing_is_lost(exact):
    case = linear_case((3, 4, 4), 3, 6, seed=0)
    images = (case.images * 255).round() / 255 if exact else case.images
    batch = batch_of(type(case)(case.module, images, case.labels))
    outcome = bench_of(case.module).judge(batch, perturbation("gaussian", 0.0), _no_budget())
    entry = Verdicts.empty(perturbation("gaussian", 0.0, kind="noise"), 6)
    judged = Judged(entry.perturbation, outcome, torch.ones(6, dtype=torch.bool))
    entry.store(slice(0, 6), judged, images, keep_images=True)
    saved = entry.adversarials
    assert saved.dtype == (np.uint8 if exact else np.float32)
    assert np.array_equal(from_saved(saved), images.numpy())
    assert entry.result(np.ones(6, dtype=bool), 0).adversarials_sha256 == digest(saved)


def test_a_digest_covers_values_type_and_shape():
    array = np.zeros((2, 3), dtype=np.uint8)
    other = array.copy()
    other[1, 2] = 1
    assert len({digest(array), digest(other), digest(array.reshape(3, 2)), digest(array.astype(np.float32))}) == 4


def _no_budget():
    from lsa_audit.attacks.budget import Budget

    return Budget("linf", 0.0, steps=0)
