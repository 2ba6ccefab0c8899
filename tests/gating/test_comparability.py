"""What forbids to compare two runs, what is only shown, and which images both have."""

from __future__ import annotations

import numpy as np
import pytest

from lsa_audit.gating.comparability import layer_refusals, pair, refusals, shown
from lsa_audit.records import LabelInfo

from .builders import FGSM, PGD, SMALL, attack, digests, first, judged, layers, snap


def changed_data(**changes):
    return snap(images=10, data=snap(images=10).data.model_copy(update=changes))


def what(differences):
    return [entry.what for entry in differences]


def test_the_same_run_is_comparable_and_shows_nothing():
    assert refusals(snap(), snap()) == ()
    assert shown(snap(), snap()) == ()


def test_fewer_images_than_the_baseline_are_allowed_and_shown():
    run = snap(images=50)
    assert refusals(run, snap()) == ()
    assert what(shown(run, snap())) == ["number of images"]


def test_images_that_the_baseline_lacks_are_counted():
    run = snap(images=10, digests=digests(np.arange(3, 13)))
    (found,) = refusals(run, snap(images=10))
    assert (found.what, found.run, found.baseline) == ("images", "3 of 10 are not in the baseline", "10 images")


@pytest.mark.parametrize("sides", ["run", "baseline", "both"])
def test_without_digests_the_data_must_be_the_same(sides):
    run, baseline = snap(images=10), snap(images=10)
    if sides != "baseline":
        run = run.model_copy(update={"digests": None})
    if sides != "run":
        baseline = baseline.model_copy(update={"digests": None})
    assert refusals(run, baseline) == ()
    other = baseline.model_copy(update={"data": baseline.data.model_copy(update={"sha256": "0" * 64})})
    (found,) = refusals(run, other)
    assert (found.what, found.baseline) == ("images (sha256)", "0" * 64)


def test_the_same_hash_of_another_number_of_images_is_refused():
    run, baseline = snap(images=9, digests=None), snap(images=10, digests=None)
    assert what(refusals(run, baseline)) == ["images (sha256)"]


def test_conditions_that_are_refused():
    run, baseline = changed_data(transforms=("resized to 64 x 64",)), changed_data(transforms=())
    run = run.model_copy(update={"labels": LabelInfo(source="self", reason="other label set"), "precision": "bf16"})
    assert what(refusals(run, baseline)) == ["transforms", "label source", "precision"]
    assert what(refusals(run, baseline, ())) == ["transforms", "label source"]
    assert refusals(run, baseline)[0].baseline == "none"


@pytest.mark.parametrize(
    "setting", [{"steps": 40}, {"step_size": 0.5}, {"restarts": 9}, {"version": 2}, {"minimal": True}, {"layer": "fc"}]
)
def test_each_setting_of_an_attack_is_refused(setting):
    baseline = snap(images=10)
    (entry,) = judged({PGD: first(5, 10)})
    other = entry.model_copy(update={"perturbation": attack(PGD, **setting)})
    run = snap(images=10, judged=(baseline.judged[0], other, baseline.judged[2]))
    assert what(refusals(run, baseline)) == [f"{PGD} {next(iter(setting))}"]
    assert refusals(run, baseline, [FGSM, SMALL]) == ()


def test_the_citation_of_an_attack_changes_nothing():
    baseline = snap(images=10)
    cited = tuple(
        entry.model_copy(update={"perturbation": entry.perturbation.model_copy(update={"citation": "arXiv"})})
        for entry in baseline.judged
    )
    assert refusals(snap(images=10, judged=cited), baseline) == ()


def test_another_epsilon_is_an_attack_that_one_side_did_not_run():
    run = snap(images=10, judged=judged({"pgd@linf-0.1": first(5, 10)}))
    baseline = snap(images=10, judged=judged({"pgd@linf-0.2": first(5, 10)}))
    found = refusals(run, baseline)
    assert [(entry.what, entry.run, entry.baseline) for entry in found] == [
        ("pgd@linf-0.1", "run", "not run"),
        ("pgd@linf-0.2", "not run", "run"),
    ]
    assert what(refusals(run, baseline, ["pgd@linf-0.1"])) == ["pgd@linf-0.1"]


def test_layers_that_cannot_be_compared():
    baseline, other = snap(images=10), snap(images=10, measured=(layers({"fc": 1.0}, measure="l2", eta=1.0),))
    assert layer_refusals(baseline, baseline, PGD, lists=True) == ()
    assert what(layer_refusals(other, baseline, PGD, lists=False)) == [f"measure of the layers under {PGD}"]
    assert what(layer_refusals(other, baseline, PGD, lists=True))[1:] == [f"eta of the layers under {PGD}"]
    assert what(layer_refusals(baseline, snap(images=10, measured=()), PGD, lists=True)) == [f"layers under {PGD}"]


def test_another_model_and_seed_are_shown():
    baseline = snap(images=10)
    model = baseline.model.model_copy(update={"mean": (0.5, 0.5, 0.5), "weights_sha256": "0" * 64})
    run = snap(images=10, model=model, seed=3, measured=(layers({"conv1": 1.0, "head": 1.0}),))
    found = {entry.what: (entry.run, entry.baseline) for entry in shown(run, baseline)}
    assert found["model mean"] == ("0.5; 0.5; 0.5", "0.485; 0.456; 0.406")
    assert found["seed"] == ("3", "0")
    assert found["layers that only one has"] == ("head", "conv2, fc")
    assert "model weights_sha256" in found
    assert refusals(run, baseline) == ()


def test_pairs_come_in_the_order_of_the_run():
    run = snap(images=4, digests=digests([9, 2, 7, 5]))
    baseline = snap(images=6, digests=digests([5, 6, 7, 8, 9, 1]))
    rows, baseline_rows = pair(run, baseline)
    assert rows.tolist() == [0, 2, 3]
    assert baseline_rows.tolist() == [4, 2, 0]


def test_nothing_pairs_without_shared_images():
    rows, baseline_rows = pair(snap(images=2, digests=digests([1, 2])), snap(images=2, digests=digests([3, 4])))
    assert len(rows) == len(baseline_rows) == 0
