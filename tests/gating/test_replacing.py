"""A run takes a baseline's place only where it is no worse, or where a reason is given."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from lsa_audit.errors import DataError, UsageError
from lsa_audit.gating.replacing import updated
from lsa_audit.gating.snapshot import pack
from lsa_audit.records import Skipped
from lsa_audit.records.snapshot import Baseline, NeuronCount

from .builders import FGSM, PGD, SMALL, digests, finding, first, gates, judged, layers, snap

DAY = date(2026, 3, 1)


def verdicts(fgsm=700, pgd=500, small=800):
    return judged({FGSM: first(fgsm), PGD: first(pgd), SMALL: first(small)})


def start(run=None) -> Baseline:
    return updated(None, run or snap(), DAY, None)


def test_the_first_one_is_taken_as_it_is():
    found = start()
    assert [(entry.day, entry.run, entry.reason) for entry in found.history] == [("2026-03-01", "run", "first")]
    assert updated(None, snap(), DAY, "new data").history[0].reason == "new data"


@pytest.mark.parametrize(
    "better",
    [
        {},
        {"judged": verdicts(pgd=501)},
        {"clean": pack(first(901))},
        {"model": snap().model.model_copy(update={"weights_sha256": "0" * 64})},
        {"measured": (layers({"conv1": 0.4, "fc": 0.3}),)},
        {"judged": (*verdicts(), *judged({"cascade@linf-8/255": first(10)}))},
        {
            "images": 1_200,
            "judged": judged({FGSM: first(840, 1_200), PGD: first(600, 1_200), SMALL: first(960, 1_200)}),
        },
    ],
    ids=["the same", "more robust", "more accurate", "other weights", "fewer listed", "one attack more", "more images"],
)
def test_improvements_are_taken(better):
    found = updated(start(), snap(**{"name": "next", **better}), DAY, None)
    assert found.snapshot.name == "next"
    assert [entry.reason for entry in found.history] == ["first", "improved"]


WORSE = {
    "clean": ({"clean": pack(first(899))}, "clean accuracy falls from 90.0 % to 89.9 %"),
    "robust": ({"judged": verdicts(pgd=499)}, "robust accuracy at linf-8/255 falls from 50.0 % to 49.9 %"),
    "images": ({"digests": digests(np.arange(1, 1_001))}, "1 of the baseline's 1,000 images are not in it"),
    "attack left out": ({"judged": verdicts()[1:]}, f"{FGSM}: not run, in the baseline run"),
    "finding": ({"findings": (finding("zero-gradients"),)}, "attack-health finding zero-gradients"),
    "skipped": (
        {"skipped": (Skipped(what="layer add", reason="no", detail="No."),)},
        "layer add is newly skipped (no)",
    ),
    "listed": ({"measured": (layers({"conv1": 1.0, "fc": 1.0}, ["conv1"]),)}, "layer conv1 is new among the most"),
    "one attack of a ball": (
        {"judged": verdicts(fgsm=699)},
        f"robust accuracy under {FGSM} falls from 70.0 % to 69.9 %",
    ),
    "fragile neurons": (
        {"neurons": (NeuronCount(layer="conv1", fragile=4, neurons=16),)},
        "fragile neurons of layer conv1 rise from 3 to 4",
    ),
    "not measured": ({"measured": ()}, f"layers under {PGD}: not measured, in the baseline measured"),
}


@pytest.mark.parametrize(("changes", "said"), WORSE.values(), ids=WORSE)
def test_what_got_worse_is_named_and_can_be_accepted(changes, said):
    run = snap(**changes)
    with pytest.raises(UsageError) as caught:
        updated(start(), run, DAY, None)
    assert said in caught.value.what
    assert "--accept REASON" in caught.value.hint
    found = updated(start(), run, date(2026, 4, 1), " more data ")
    assert [entry.reason for entry in found.history] == ["first", "more data"]
    assert found.snapshot == run


def test_everything_that_got_worse_is_named_at_once():
    run = snap(clean=pack(first(10)), findings=(finding("zero-gradients"),))
    with pytest.raises(UsageError) as caught:
        updated(start(), run, DAY, None)
    for part in ("clean accuracy falls", "robust accuracy at linf-8/255", "linf-2/255", "zero-gradients"):
        assert part in caught.value.what


def test_a_noise_that_does_more_is_worse():
    salt = "salt@linf-8/255"
    start_with = snap(judged=(*verdicts(), *judged({salt: first(890)}, "noise")))
    weaker = snap(judged=(*verdicts(), *judged({salt: first(880)}, "noise")))
    with pytest.raises(UsageError, match=f"robust accuracy under {salt} falls"):
        updated(start(start_with), weaker, DAY, None)


def test_what_was_there_before_is_not_new():
    there = {
        "findings": (finding("zero-gradients"),),
        "skipped": (Skipped(what="layer add", reason="no", detail="No."),),
    }
    assert updated(start(snap(**there)), snap(**there), DAY, None).history[-1].reason == "improved"


def test_notes_on_the_attacks_are_no_findings():
    updated(start(), snap(findings=(finding("zero-gradients", level="note"),)), DAY, None)


def test_a_reason_must_say_something():
    with pytest.raises(UsageError, match="takes a reason"):
        updated(None, snap(), DAY, "  ")


def test_a_broken_baseline_is_refused():
    broken = start().model_copy(update={"snapshot": snap(images=0)})
    with pytest.raises(DataError):
        updated(broken, snap(), DAY, None)


RISES = {"relative_error@conv*": ["error", {"max_rise": 0.1}]}


@pytest.mark.parametrize(
    ("asked", "mean", "refused"),
    [
        (RISES, 0.61, "conv2 rises from 0.5 to 0.61"),
        (RISES, 0.59, ""),
        (RISES, 0.1, ""),
        (RISES, None, ""),
        ({"relative_error@conv*": ["error", {"max": 0.1}]}, 0.9, ""),
        ({"relative_error@conv*": "off"}, 0.9, ""),
        ({"relative_error@fc": ["error", {"max_rise": 0.0}]}, 0.9, ""),
        ({}, 0.9, ""),
    ],
)
def test_a_layer_that_moves_further_than_its_gate_allows_is_worse(asked, mean, refused):
    run = snap(measured=(layers({"conv1": 0.4, "conv2": mean, "fc": 0.9}, ["fc"]),))
    if not refused:
        updated(start(), run, DAY, None, gates(asked))
        return
    with pytest.raises(UsageError, match=refused):
        updated(start(), run, DAY, None, gates(asked))
    assert updated(start(), run, DAY, "known", gates(asked)).history[-1].reason == "known"
