"""The benchmark of the gates' verdicts judges as the gate does, counts right, and says what does not hold."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest

from benchmarks import gate, gate_page
from benchmarks.gate_page import APART, AT_MARGIN, FIXED, KNOWN, PAIRED, SAME, UNCHANGED, WORSE, Row
from lsa_audit.stats.paired import drop


def scene(truth: str, discordance: float, pairs: int = 2_000) -> gate.Scene:
    return gate.Scene(truth, gate.TRUTHS[truth], discordance, pairs, np.random.default_rng(0))


def row(**changes) -> Row:
    settings = {"figure": "drop", "test": PAIRED, "truth": UNCHANGED, "spread": "5 %", "planned": FIXED, "images": 770}
    return Row(**{**settings, "simulated": 1_000, "failed": 0, "passed": 0, **changes})


@pytest.mark.slow
def test_every_point_is_simulated_and_written(tmp_path):
    few = ["--pairs", "4", "--discordances", ".05", "--images", "50", "--rise-images", "20"]
    assert gate.main([*few, "--out", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "decisions.csv").open()))
    drops = [one for one in rows if one["figure"] == "drop"]
    assert Counter(one["test"] for one in drops) == {PAIRED: 3 + 2 + 6, SAME: 3 + 1, APART: 1}
    assert len(rows) - len(drops) == 6
    assert all(int(one["failed"]) + int(one["passed"]) <= int(one["simulated"]) <= 4 for one in rows)
    page = (tmp_path / "decisions.md").read_text()
    assert page.count("\n| ") == len(rows) + 2 * len(gate_page.SECTIONS)
    assert "the paired test needs 820 images, the z-test 4,565 on the same images and 7,729 on other images." in page


@pytest.mark.parametrize(
    ("truth", "discordance", "lost", "gained"),
    [(UNCHANGED, 0.05, 0.025, 0.025), (WORSE, 0.2, 0.12, 0.08), (WORSE, 0.01, 0.04, 0.0), (AT_MARGIN, 0.01, 0.02, 0.0)],
)
def test_pairs_have_the_discordance_and_the_drop(truth, discordance, lost, gained):
    counts = scene(truth, discordance).same(1_000)
    assert counts.shape == (2_000, 4)
    assert (counts.sum(axis=1) == 1_000).all()
    assert counts.mean(axis=0) / 1_000 == pytest.approx([0.5 - lost, lost, gained, 0.5 - gained], abs=0.001)
    apart = scene(truth, discordance).apart(1_000)
    assert (apart.min(), apart.sum(axis=1).tolist()) == (0, [1_000] * 2_000)
    assert (apart[:, 1] - apart[:, 2]).mean() / 1_000 == pytest.approx(gate.TRUTHS[truth], abs=0.002)


@pytest.mark.parametrize(("lost", "gained", "images"), [(0, 0, 1_000), (15, 15, 770), (60, 5, 770), (5, 3, 50)])
def test_the_verdict_is_that_of_the_gate(lost, gained, images):
    decision = drop(lost, gained, images, gate.MARGIN, gate.ALPHA)
    expected = (
        "failed" if decision.p_broken <= gate.ALPHA else "passed" if decision.p_kept <= gate.ALPHA else "inconclusive"
    )
    assert gate.verdict(lost, gained, images) == expected
    counts = np.array([[images - lost - gained, lost, gained, 0]] * 2)
    assert gate.paired_verdicts(counts) == {expected: 2}


def test_the_z_test_is_the_textbook_one():
    counts = np.array([[3_000, 1_000, 200, 3_500], [3_800, 100, 100, 3_700], [3_800, 120, 0, 3_780], [0, 0, 0, 50]])
    assert gate.unpaired_verdicts(counts) == {"failed": 1, "passed": 2, "inconclusive": 1}
    # (1.645 + 0.842)^2 * 2 * 0.25 / 0.02^2
    assert gate.unpaired_images(0.5) == 7_729


def test_pilots_that_decide_are_left_out(monkeypatch):
    numbers = iter([None, 300, 500, None])
    monkeypatch.setattr(gate, "announced", lambda *_: next(numbers))
    found = gate.piloted(scene(UNCHANGED, 0.05, pairs=4), 50)
    assert (found.simulated, found.images, found.planned) == (2, 400, "announced, pilot of 50")


def test_errors_count_only_where_they_are_errors():
    assert (row(failed=7, passed=90).wrong, row(failed=7, passed=90).right) == (7, 90)
    assert (row(truth=WORSE, failed=90, passed=7).wrong, row(truth=WORSE, failed=90, passed=7).right) == (7, 90)
    assert (row(truth=AT_MARGIN, failed=9, passed=7).wrong, row(truth=AT_MARGIN, failed=9, passed=7).right) == (9, 0)


def test_the_page_says_what_does_not_hold():
    rows = [row(failed=40), row(failed=90), row(planned=KNOWN, passed=790), row(truth=AT_MARGIN, failed=60)]
    claims = gate_page.claims(rows, 0.05)
    assert claims[0] == (
        "Drops, false failures when nothing changed, at most 5 %: does not hold at 1 of 3 points. The largest share is "
        "9.0 ± 0.9 % (nothing changed, 5 %, 770 images, fixed)."
    )
    assert claims[1].startswith("Drops, errors of either kind at the margin, at most 5 %: holds.")
    assert claims[2] == "Drops, false passes at twice the margin: nothing was simulated."
    assert "at least 80 %: holds. The smallest share is 79.0 ± 1.3 %" in claims[3]
    weak = gate_page.claims([row(planned=KNOWN, passed=700)], 0.05)
    assert "at least 80 %: does not hold at 1 of 1 points." in weak[3]
