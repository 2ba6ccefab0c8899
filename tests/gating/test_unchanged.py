"""The same weights with the same verdicts pass on any number of images; layers that one run lacks have no say."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest

from lsa_audit.errors import DataError, UsageError
from lsa_audit.gating.needs import needs, said
from lsa_audit.gating.replacing import worse
from lsa_audit.gating.snapshot import pack
from lsa_audit.records import Skipped
from lsa_audit.records.gating import EXIT_CODES
from lsa_audit.records.snapshot import NeuronCount
from lsa_audit.reporting import github_annotations, junit, markdown, sarif
from lsa_audit.reporting.shown import Shown
from lsa_audit.settings.gates import PRESETS, Waiver
from lsa_audit.stats.paired import drop

from ..reporting.builders import build
from .builders import (
    ADD,
    CLEAN_DROP,
    FGSM,
    MEASURED,
    PGD,
    SMALL,
    TODAY,
    VALUES,
    ask,
    digests,
    first,
    gates,
    judged,
    layers,
    only,
    part,
    retrained,
    snap,
)

STRICT = PRESETS["strict"] | {"relative_error": ["error", {"max_rise": 0.1}]}
NO_DROP = {"clean_accuracy": ["error", {"max_drop": 0.0}], "robust_accuracy": ["error", {"max_drop": 0.0}]}


def run_of(images: int, **changes):
    measured = layers({"conv1": 0.4, "conv2": 0.5, "fc": 0.9}, ["fc"], values=VALUES[:, :images])
    return snap(images, **{"measured": (measured,), **changes})


@pytest.mark.parametrize("images", [1, 2, 12, 50, 1000])
@pytest.mark.parametrize("asked", [*PRESETS.values(), STRICT, NO_DROP], ids=[*PRESETS, "layers", "no drop"])
def test_a_run_against_itself_passes(images, asked):
    run = run_of(images)
    found = ask(asked, run, run)
    assert {check.outcome for check in found.checks} == {"passed"}
    assert (found.verdict, int(found.exit_code)) == ("passed", 0)
    drops = [check for check in found.checks if check.limit == "max_drop"]
    assert drops
    for check in drops:
        assert check.sentence.partition(";")[0].endswith("same weights and the same verdicts: nothing changed")
        assert (check.seen, check.images, check.p_broken, check.images_needed) == (0.0, images, None, None)


IDLE = Skipped(what="parameter aux.weight", reason="parameter-unused", detail="Nothing reads it.")


@pytest.mark.parametrize("asked", PRESETS.values(), ids=[*PRESETS])
def test_a_run_that_skipped_something_passes_against_itself(asked):
    run = run_of(60, skipped=(IDLE, ADD))
    found = ask(asked, run, run)
    assert int(found.exit_code) == 0
    (check,) = [check for check in found.checks if check.kind == "skipped"]
    assert check.sentence == "1 thing could not be measured, as in the baseline: layer add (no-batch): nothing changed"
    assert (check.seen, check.run_value) == (0, 1)


def test_parameters_that_nothing_reads_are_no_gap_unless_a_gate_names_them():
    limit, run = ["error", {"max": 0}], snap(skipped=(IDLE,))
    check = only(ask({"skipped": limit}, run))
    assert (check.outcome, check.sentence) == ("passed", "0 things could not be measured (allowed 0): kept")
    assert only(ask({"skipped": ["error", {"no_new": True}]}, run, snap())).outcome == "passed"
    assert only(ask({"skipped@parameter*": limit}, run)).outcome == "failed"
    assert list(worse(snap(), run)) == []


def test_beside_a_baseline_only_what_it_could_measure_counts():
    limit, fc = {"skipped": ["error", {"max": 0}]}, ADD.model_copy(update={"what": "layer fc"})
    check = only(ask(limit, snap(skipped=(ADD, fc)), snap(skipped=(ADD,))))
    assert (check.outcome, check.seen, check.run_value) == ("failed", 1, 2)
    assert (
        "2 things could not be measured, 1 of which the baseline does not name: layer fc (no-batch)" in check.sentence
    )
    other = snap(skipped=(ADD.model_copy(update={"reason": "other"}),))
    assert only(ask(limit, snap(skipped=(ADD,)), other)).outcome == "failed"


@pytest.mark.parametrize("right", [0, 60])
def test_none_or_all_right_is_nothing_that_changed_either(right):
    robust = judged({name: first(right, 60) for name in (FGSM, PGD, SMALL)})
    run = run_of(60, clean=pack(first(right, 60)), judged=robust)
    assert ask(STRICT, run, run).verdict == "passed"


def test_of_other_weights_few_equal_verdicts_decide_nothing():
    found = ask(PRESETS["default"], retrained(run_of(60)), run_of(60))
    assert found.verdict == "inconclusive"
    assert found.checks[0].images_needed > 60


@pytest.mark.parametrize("field", ["mean", "std", "input_shape", "classes", "input_layout"])
def test_the_same_weights_in_another_use_are_another_model(field):
    run = run_of(60)
    other = {"mean": (0.9,), "std": (0.9,), "input_shape": (1, 2, 3), "classes": 77, "input_layout": "nhwc"}[field]
    changed = run.model_copy(update={"model": run.model.model_copy(update={field: other})})
    assert ask(CLEAN_DROP, changed, run).verdict == "inconclusive"


def test_weights_without_a_hash_are_not_known_to_be_the_same():
    run = run_of(60)
    bare = run.model_copy(update={"model": run.model.model_copy(update={"weights_sha256": ""})})
    assert ask(CLEAN_DROP, bare, bare).verdict == "inconclusive"


def test_one_changed_verdict_is_judged_as_ever():
    run = run_of(60)
    verdicts = first(54, 60)
    verdicts[0], verdicts[59] = False, True
    check = only(ask(CLEAN_DROP, run.model_copy(update={"clean": pack(verdicts)}), run))
    assert (check.seen, check.outcome) == (0.0, "inconclusive")
    assert check.p_kept is not None


def test_the_order_and_the_number_of_the_images_do_not_matter():
    run = run_of(60)
    order = np.random.default_rng(0).permutation(60)
    robust = {name: first(count * 60 // 1000, 60)[order] for name, count in {FGSM: 700, PGD: 500, SMALL: 800}.items()}
    shuffled = run.model_copy(
        update={"digests": digests(order), "clean": pack(first(54, 60)[order]), "judged": judged(robust)}
    )
    assert ask(PRESETS["default"], shuffled, run).verdict == "passed"
    few = part(snap(), 7)
    found = ask(PRESETS["default"], few, snap())
    assert found.verdict == "passed"
    assert "on the 7 of 1,000 images that the run has" in found.checks[0].sentence


def test_runs_without_digests_are_the_same_images_by_their_hash():
    run = run_of(60, digests=None)
    assert ask(STRICT, run, run).verdict == "passed"


def test_an_image_twice_and_no_image_are_refused():
    twice, none = run_of(60, digests=digests(np.zeros(60))), run_of(60, clean=pack(first(0, 0)))
    with pytest.raises(DataError, match="the same image twice"):
        ask(CLEAN_DROP, twice, twice)
    with pytest.raises(DataError, match="holds no images"):
        ask(CLEAN_DROP, none, none)


RISE = {"relative_error@fc": ["error", {"max_rise": 0.1}]}


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (0.9, 0.9, "passed"),
        (0.9, 0.91, "inconclusive"),
        (None, None, "passed"),
        (math.nan, math.nan, "inconclusive"),
        (0.9, None, "inconclusive"),
    ],
)
def test_single_images_that_were_not_kept_are_stood_for_by_the_mean(before, after, outcome):
    runs = [run_of(60, measured=(layers({"fc": mean}),)) for mean in (after, before)]
    assert only(ask(RISE, *runs)).outcome == outcome
    fewer = part(snap(measured=(layers({"fc": after}),)), 30)
    assert only(ask(RISE, fewer, snap(measured=(layers({"fc": before}),)))).outcome == "inconclusive"


def test_another_movement_of_a_layer_under_the_same_weights_is_judged_as_ever():
    moved = layers({"conv1": 0.4, "conv2": 0.5, "fc": 0.9}, ["fc"], values=VALUES * 3)
    assert only(ask(RISE, snap(measured=(moved,)), snap(measured=(MEASURED,)))).outcome == "failed"


# --- layers that only one has --------------------------------------------------------------------

NAMES = {"conv1": "/conv1/Conv", "conv2": "/conv2/Conv", "fc": "/fc/Gemm"}


def exported(run):
    """The same network from another format: other names of layers, other names of weights."""
    measured = tuple(
        entry.model_copy(
            update={
                "mvl": tuple(NAMES[name] for name in entry.mvl),
                "layers": tuple(state.model_copy(update={"layer": NAMES[state.layer]}) for state in entry.layers),
            }
        )
        for entry in run.measured
    )
    neurons = tuple(entry.model_copy(update={"layer": NAMES[entry.layer]}) for entry in run.neurons)
    return retrained(run).model_copy(update={"measured": measured, "neurons": neurons})


@pytest.mark.parametrize("asked", [*PRESETS.values(), STRICT], ids=[*PRESETS, "layers"])
def test_the_same_network_in_another_format_passes_by_its_accuracies(asked):
    before = snap(measured=(MEASURED,))
    found = ask(asked, exported(before), before)
    assert (found.verdict, int(found.exit_code)) == ("passed", 0)
    compared = {check.kind: check.outcome for check in found.checks}
    for kind in ("relative_error", "mvl", "fragile_neurons"):
        assert compared.get(kind, "not-comparable") == "not-comparable"
    assert compared["clean_accuracy"] == compared["robust_accuracy"] == "passed"
    if "mvl" in asked:
        sentences = " ".join(check.sentence for check in found.checks)
        assert "/fc/Gemm" in sentences
        assert "the baseline has no layer of that name" in sentences
    assert any(entry.what == "layers that only one has" for entry in found.differences)


def test_a_layer_of_either_side_alone_is_shown_and_the_others_are_judged():
    grown = layers({"conv1": 0.4, "conv2": 0.5, "head": 0.9}, ["head"], values=VALUES)
    found = ask(STRICT, snap(measured=(grown,)), snap(measured=(MEASURED,)))
    outcomes = {check.id: check.outcome for check in found.checks if check.kind in ("relative_error", "mvl")}
    assert outcomes == {
        "relative_error@conv1:max_rise": "passed",
        "relative_error@conv2:max_rise": "passed",
        "relative_error@head:max_rise": "not-comparable",
        "relative_error@fc:max_rise": "not-comparable",
        "mvl:no_new": "passed",
        "mvl@head:no_new": "not-comparable",
    }
    said_of = {check.id: check.sentence for check in found.checks}
    assert "the run has no layer fc under" in said_of["relative_error@fc:max_rise"]
    assert "the baseline has no layer head under" in said_of["relative_error@head:max_rise"]
    assert found.verdict == "passed"


@pytest.mark.parametrize("name", ["head", "fc"])
def test_gates_that_name_only_such_layers_decide_nothing(name):
    run = snap(measured=(layers({"head": 0.9}, values=VALUES[2:]),))
    asked = {f"relative_error@{name}": ["error", {"max_rise": 0.1}]}
    found = ask(asked, run, snap(measured=(MEASURED,)))
    assert only(found).outcome == "not-comparable"
    assert (found.verdict, int(found.exit_code)) == ("inconclusive", int(EXIT_CODES["inconclusive"]))
    excused = [Waiver(gate="relative_error@*", reason="renamed", expires=TODAY)]
    waived = ask(asked, run, snap(measured=(MEASURED,)), waivers=excused)
    assert waived.verdict == "passed"
    assert waived.waivers[0].state == "used"
    with_accuracy = ask({**asked, **CLEAN_DROP}, run, snap(measured=(MEASURED,)))
    assert with_accuracy.verdict == "passed"


def test_a_name_that_neither_knows_is_a_mistake_and_so_is_a_limit_on_a_layer_that_the_run_lacks():
    run = snap(measured=(layers({"head": 0.9}, values=VALUES[2:]),))
    with pytest.raises(UsageError, match="finds nothing in the run"):
        ask({"relative_error@typo": ["error", {"max_rise": 0.1}]}, run, snap(measured=(MEASURED,)))
    with pytest.raises(UsageError, match="finds nothing in the run"):
        ask({"relative_error@fc": ["error", {"max": 1.0}]}, run, snap(measured=(MEASURED,)))


def test_a_layer_whose_neurons_only_the_baseline_dropped_is_shown():
    run = snap(neurons=(NeuronCount(layer="conv2", fragile=1, neurons=8),))
    found = ask({"fragile_neurons": ["error", {"max_rise": 0}]}, run, snap())
    assert [(check.target, check.outcome) for check in found.checks] == [
        ("conv2", "not-comparable"),
        ("conv1", "not-comparable"),
    ]
    assert found.verdict == "inconclusive"


# --- how many images -----------------------------------------------------------------------------


def test_the_number_for_no_change_is_the_smallest_that_decides():
    """p_kept of no changed verdict of N images is about (1 - margin) ** N."""
    (need,) = needs(snap(images=60), gates(CLEAN_DROP))
    assert need.stable is not None
    assert drop(0, 0, need.stable, 0.02, 0.05).p_kept <= 0.05
    fewer = math.floor(0.9 * need.stable)
    assert drop(0, 0, fewer, 0.02, 0.05).p_kept > 0.05
    assert need.stable == pytest.approx(math.log(0.05) / math.log(0.98), rel=0.1)
    assert need.changing == 820


def test_what_the_gates_need_is_said_once_for_each_limit():
    lines = list(said(snap(images=60), gates(STRICT)))
    assert len(lines) == 2
    assert lines[0].startswith("clean_accuracy and robust_accuracy, a drop of at most 1.0 points: about ")
    assert "5.0 % of the verdicts change and the accuracy does not; this run has 60" in lines[0]
    assert lines[1] == "relative_error: at least 100 images; this run has 60"
    (enough,) = said(snap(), gates(CLEAN_DROP))
    assert enough.endswith("this run's 1,000 are enough")


def test_no_number_of_images_shows_a_drop_of_nothing():
    (line,) = said(snap(), gates({"clean_accuracy": ["error", {"max_drop": 0.0}]}))
    assert "no number of images can show that" in line


def test_what_is_off_or_absolute_needs_nothing():
    assert list(said(snap(), gates({"clean_accuracy": "off", "skipped": ["error", {"max": 0}]}))) == []


def test_reports_show_what_cannot_be_compared_without_alarm():
    record = build()
    before = snap(measured=(MEASURED,))
    gating = ask(STRICT, exported(before), before)
    shown = Shown(record, gating, ())
    assert "not comparable" in markdown.render(shown)
    counted = ElementTree.fromstring(junit.render(shown)).find("testsuite")  # noqa: S314 - our own
    assert (counted.get("failures"), counted.get("errors")) == ("0", "0")
    assert int(counted.get("skipped")) >= 7
    results = json.loads(sarif.render(shown))["runs"][0]["results"]
    levels = {each["level"] for each in results if each.get("properties") == {"outcome": "not-comparable"}}
    assert levels == {"note"}
    annotations = github_annotations.render(shown)
    assert "::notice" in annotations
    assert not [line for line in annotations.splitlines() if line.startswith("::error") and "comparable" in line]
