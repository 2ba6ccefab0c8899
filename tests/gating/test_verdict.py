"""What the gates say of a run, and what holds for all of them."""

from __future__ import annotations

import numpy as np
import pytest

from lsa_audit.gating.snapshot import pack
from lsa_audit.settings.gates import PRESETS

from .builders import (
    ADD,
    CLEAN_DROP,
    MOVED,
    PGD,
    ROBUST_DROP,
    SEEN,
    SELF,
    ask,
    digests,
    finding,
    first,
    judged,
    only,
    part,
    retrained,
    snap,
    weak,
)


def test_a_subset_says_on_which_images_it_was_compared():
    run = snap(images=50, digests=digests(np.arange(950, 1000)), clean=pack(first(0, 50)))
    baseline = snap(clean=pack(first(990)))
    found = ask(CLEAN_DROP, run, baseline)
    check = only(found)
    assert (found.images, found.images_paired, check.images) == (50, 50, 50)
    assert "fell from 80.0 % to 0.0 % on the 50 of 1,000 images that the run has" in check.sentence
    assert check.outcome == "failed"


def test_runs_in_another_order_are_paired_by_image():
    order = np.random.default_rng(0).permutation(1000)
    run = snap(clean=pack(first(900)[order]), digests=digests(order))
    check = only(ask(CLEAN_DROP, run, snap()))
    assert (check.seen, check.outcome) == (0.0, "passed")


def test_a_check_tells_all_that_was_seen():
    check = only(ask(ROBUST_DROP, weak(300), snap()))
    assert (check.gate, check.kind, check.target) == ("robust_accuracy@linf-8/255", "robust_accuracy", "linf-8/255")
    assert (check.level, check.limit, check.allowed, check.alpha, check.line) == ("error", "max_drop", 0.02, 0.05, 7)
    assert (check.seen, check.run_value, check.baseline_value) == (pytest.approx(0.2), 0.3, 0.5)
    assert check.low < 0.2 < check.high
    assert check.p_broken == check.p_adjusted < 0.001 < check.p_kept
    assert (check.images, check.images_needed) == (1000, None)
    assert check.sentence.startswith(
        "robust accuracy at linf 8/255 fell from 50.0 % to 30.0 % on the same 1,000 images (a drop of "
    )
    assert check.sentence.endswith(
        f"points at 95 % each way; allowed 2.0): broken; {PGD} alone does the most damage, it leaves 30.0 % right"
    )


def test_an_undecided_check_says_what_would_decide():
    check = only(ask(CLEAN_DROP, part(retrained(snap()), 50), snap()))
    assert check.images_needed > 50
    assert check.sentence.endswith(f": not decided; about {check.images_needed:,} images would decide")


def test_the_images_announced_decide():
    baseline = snap(images=10_000)
    needed = only(ask(CLEAN_DROP, part(retrained(baseline), 50), baseline)).images_needed
    assert only(ask(CLEAN_DROP, part(retrained(baseline), needed), baseline)).outcome == "passed"


def test_without_a_baseline_it_says_what_it_needs():
    found = ask(CLEAN_DROP)
    assert "needs --baseline" in only(found).sentence
    assert (found.baseline, found.images_paired, found.verdict) == (None, None, "inconclusive")


def test_self_labels_make_prediction_stability():
    run = snap(labels=SELF)
    written = {"clean_accuracy": ["error", {"min": 0.5}], "robust_accuracy@linf-2/255": ["error", {"min": 0.5}]}
    sentences = [check.sentence for check in ask(written, run).checks]
    assert sentences[0].startswith("prediction stability without attack is 90.0 % on 1,000 images")
    assert sentences[1].startswith("prediction stability at linf 2/255 is 80.0 %")


@pytest.mark.parametrize(("level", "doubted"), [("error", True), ("warning", False)])
def test_attack_health_doubts_robust_figures_that_passed(level, doubted):
    run = snap(findings=(finding("zero-gradients", level),))
    written = {"robust_accuracy": ["error", {"min": 0.6}], "clean_accuracy": ["error", {"min": 0.6}]}
    said = {check.target: "attack health doubts" in check.sentence for check in ask(written, run).checks}
    assert said == {"": False, "linf-8/255": False, "linf-2/255": doubted}


def test_limits_of_one_level_are_corrected_together():
    """Five drops whose p-values lie between alpha / 5 and alpha fail one by one and not together."""
    names = [f"pgd@linf-{number}/255" for number in range(1, 6)]
    before, after = ({name: first(count) for name in names} for count in (500, 470))
    run, baseline = snap(judged=judged(after)), snap(judged=judged(before))
    alone = only(ask({f"robust_accuracy@{names[0]}": ["error", {"max_drop": 0.02}]}, run, baseline))
    assert 0.01 < alone.p_broken < 0.05
    assert (alone.outcome, alone.images_needed) == ("failed", None)
    together = ask({"robust_accuracy@pgd@*": ["error", {"max_drop": 0.02}]}, run, baseline)
    assert [check.outcome for check in together.checks] == ["inconclusive"] * 5
    assert all(check.p_adjusted == pytest.approx(5 * alone.p_broken) for check in together.checks)
    assert all(check.images_needed > 1000 for check in together.checks)
    level = {names[0]: "error", names[1]: "warn"}
    apart = ask({f"robust_accuracy@{name}": [level[name], {"max_drop": 0.02}] for name in level}, run, baseline)
    assert [check.outcome for check in apart.checks] == ["failed", "failed"]


def test_what_passes_is_not_corrected():
    """All must pass, so that each is held to alpha by itself."""
    names = [f"pgd@linf-{number}/255" for number in range(1, 6)]
    run = snap(judged=judged({name: first(494) for name in names}))
    baseline = snap(judged=judged({name: first(500) for name in names}))
    found = ask({"robust_accuracy": ["error", {"max_drop": 0.02}]}, run, baseline)
    assert all(0.05 / 5 < check.p_kept <= 0.05 or check.p_kept < 0.01 for check in found.checks)
    assert found.verdict == "passed"


def test_the_same_question_has_the_same_answer():
    written = {"relative_error": ["error", {"max": 0.5, "max_rise": 0.1}], "mvl": ["warn", {"no_new": True}]}
    assert ask(written, MOVED, SEEN) == ask(written, MOVED, SEEN)


def test_ids_are_unique():
    run = snap(findings=(finding("zero-gradients"),), skipped=(ADD,))
    written = {
        **PRESETS["strict"],
        "relative_error": ["warn", {"max": 0.5, "max_rise": 0.1}],
        "skipped@layer*": ["error", {"max": 0, "no_new": True}],
        f"robust_accuracy@{PGD}": ["error", {"min": 0.4, "max_drop": 0.1}],
    }
    ids = [check.id for check in ask(written, run, snap()).checks]
    assert len(set(ids)) == len(ids) > 15
