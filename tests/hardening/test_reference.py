"""A model that is hardened must be as good as when it was scanned; the figures are counted here by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy
import pytest
import torch

from lsa_audit import models
from lsa_audit.data.builtin import digits_split
from lsa_audit.errors import DataError, UsageError
from lsa_audit.hardening.reference import Scanned, check
from lsa_audit.models.fitting import fit
from lsa_audit.models.request import ModelRequest
from lsa_audit.progress import Silent
from lsa_audit.scanning.audit import audit, make_profile

CPU = torch.device("cpu")
SETTINGS = {
    "data": "digits",
    "slice": "0:200",
    "samples": None,
    "epsilon": [0.05],
    "attacks": ["fgsm"],
    "noises": [],
    "layers": "none",
    "neurons": "none",
    "probes": [],
    "threads": 1,
}
IMAGES = {name: SETTINGS[name] for name in ("data", "slice", "samples")}


@pytest.fixture(scope="module")
def result():
    return audit("digits-cnn", make_profile({"test": SETTINGS}), progress=Silent())


def model(**changes):
    found = models.load(ModelRequest("digits-cnn", **changes))
    return fit(found, torch.rand(2, 1, 8, 8))


def scanned(result, taken=True, unlike=(), evidence=None, **images):
    profile = make_profile({"test": {**IMAGES, **images}})
    return Scanned(
        "reports/x", result.record, result.evidence if evidence is None else evidence, profile, taken, unlike
    )


def test_the_same_model_goes_on(result):
    for taken in (True, False):
        check(model(), make_profile({}), scanned(result, taken), CPU)


def right(changed) -> int:
    """Of the scan's images, counted in plain torch."""
    split = digits_split()
    with torch.no_grad():
        return int((changed.module(split.test_images[:200]).argmax(1) == split.test_labels[:200]).sum())


@pytest.mark.parametrize("evidence", [None, {}], ids=["image by image", "by counts"])
@pytest.mark.parametrize("taken", [True, False])
def test_another_normalisation_is_refused_with_both_figures(result, taken, evidence):
    changed = model(mean=(1.5,), std=(0.1,))
    share = right(changed) / 200
    assert share < 0.5
    with pytest.raises(UsageError) as caught:
        check(changed, make_profile({}), scanned(result, taken, ("--mean is 1.5 here and 0 there",), evidence), CPU)
    said = str(caught.value)
    assert f"{100 * share:.1f} % of the 200 images of the scan reports/x are right" in said
    assert f"in the scan it was {100 * result.record.clean.value:.1f} %" in said
    assert "--mean is 1.5 here and 0 there: give the scan's" in said
    assert "\n" not in said


@pytest.mark.parametrize(("lost", "refused"), [(0, False), (3, False), (4, False), (5, True), (60, True)])
def test_far_below_is_more_than_two_points_and_significant(result, lost, refused):
    """The scan says of some images that another answer was right. 4 of 200 are 2 points, 5 have p 1/32."""
    now = model()
    labels = result.evidence["labels"].copy()
    answers = result.evidence["clean_predictions"].copy()
    changed = numpy.flatnonzero(answers == labels)[:lost]
    labels[changed] = answers[changed] = (labels[changed] + 1) % 10
    found = scanned(result, evidence={"labels": labels, "clean_predictions": answers})
    if refused:
        with pytest.raises(UsageError, match="does not run as it did there"):
            check(now, make_profile({}), found, CPU)
    else:
        check(now, make_profile({}), found, CPU)


def test_a_better_model_goes_on(result):
    answers = (result.evidence["labels"] + 1) % 10
    evidence = {"labels": result.evidence["labels"], "clean_predictions": answers}
    check(model(), make_profile({}), scanned(result, evidence=evidence), CPU)


def test_logits_that_are_not_finite_are_wrong(result):
    changed = model()
    with torch.no_grad():
        for parameter in changed.module.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(UsageError, match=r"0\.0 % of the 200 images"):
        check(changed, make_profile({}), scanned(result), CPU)


def test_other_images_are_compared_by_their_counts(result):
    check(model(), make_profile({}), scanned(result, slice="200:400"), CPU)
    with pytest.raises(UsageError, match="of the 150 images"):
        check(model(mean=(1.5,), std=(0.1,)), make_profile({}), scanned(result, slice="200:350"), CPU)


def test_other_weights_or_lost_data_matter_only_where_the_scan_is_what_was_asked_for(result):
    other = model()
    with torch.no_grad():
        next(other.module.parameters()).zero_()
    check(other, make_profile({}), scanned(result, taken=False), CPU)
    with pytest.raises(UsageError):
        check(other, make_profile({}), scanned(result, taken=True), CPU)
    check(model(), make_profile({}), scanned(result, taken=False, data="lost.npz"), CPU)
    with pytest.raises(DataError):
        check(model(), make_profile({}), scanned(result, taken=True, data="lost.npz"), CPU)


def test_a_scan_against_the_models_own_answers_says_nothing_by_its_counts(result):
    labels = result.record.labels.model_copy(update={"source": "self"})
    own = replace(scanned(result, evidence={}), record=result.record.model_copy(update={"labels": labels}))
    check(model(mean=(1.5,), std=(0.1,)), make_profile({}), own, CPU)
    paired = replace(own, evidence=result.evidence)
    with pytest.raises(UsageError):
        check(model(mean=(1.5,), std=(0.1,)), make_profile({}), paired, CPU)
