"""The gates as one table of edges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from lsa_audit.gating.snapshot import pack
from lsa_audit.records.snapshot import NeuronCount, Snapshot
from lsa_audit.settings.gates import PRESETS

from .builders import (
    ADD,
    CLEAN_DROP,
    FGSM,
    MOVED,
    PGD,
    ROBUST_DROP,
    SEEN,
    VALUES,
    ask,
    finding,
    first,
    judged,
    layers,
    part,
    retrained,
    snap,
    weak,
)


@dataclass(frozen=True)
class Row:
    """Gates, a run and perhaps a baseline in; the outcome of each check by its id out."""

    gates: Mapping[str, Any]
    expected: Mapping[str, str]
    run: Snapshot = field(default_factory=snap)
    baseline: Snapshot | None = field(default_factory=snap)
    verdict: str = ""


DROP_ID = "robust_accuracy@linf-8/255:max_drop"
BOTH_DROPS = {DROP_ID: "passed", "robust_accuracy@linf-2/255:max_drop": "passed"}
FC = "relative_error@fc:max"

ROWS = {
    "no gates": Row({}, {}, verdict="inconclusive"),
    "all off": Row({"clean_accuracy": "off"}, {}, verdict="inconclusive"),
    "share far above": Row({"clean_accuracy": ["error", {"min": 0.8}]}, {"clean_accuracy:min": "passed"}),
    "share far below": Row({"clean_accuracy": ["error", {"min": 0.95}]}, {"clean_accuracy:min": "failed"}),
    "share at its limit": Row({"clean_accuracy": ["error", {"min": 0.9}]}, {"clean_accuracy:min": "inconclusive"}),
    "nothing asked of a share": Row(
        {"clean_accuracy": ["error", {"min": 0.0}]}, {"clean_accuracy:min": "passed"}, snap(clean=pack(first(0)))
    ),
    "no baseline": Row(CLEAN_DROP, {"clean_accuracy:max_drop": "inconclusive"}, baseline=None),
    "the same run again": Row(CLEAN_DROP, {"clean_accuracy:max_drop": "passed"}),
    "a drop far within its limit": Row(ROBUST_DROP, {DROP_ID: "passed"}, weak(495)),
    "a drop at its limit": Row(ROBUST_DROP, {DROP_ID: "inconclusive"}, weak(480)),
    "a drop beyond its limit": Row(ROBUST_DROP, {DROP_ID: "failed"}, weak(400)),
    "all lost": Row(ROBUST_DROP, {DROP_ID: "failed"}, weak(0)),
    "more robust": Row(ROBUST_DROP, {DROP_ID: "passed"}, weak(690)),
    "one image": Row(CLEAN_DROP, {"clean_accuracy:max_drop": "inconclusive"}, snap(images=1)),
    "50 images": Row(CLEAN_DROP, {"clean_accuracy:max_drop": "inconclusive"}, part(retrained(snap()), 50)),
    "every ball": Row({"robust_accuracy": ["error", {"max_drop": 0.02}]}, BOTH_DROPS),
    "a ball is off": Row(
        {"robust_accuracy": ["error", {"max_drop": 0.02}], "robust_accuracy@linf-2/255": "off"},
        {DROP_ID: "passed"},
    ),
    "an exact key goes before a pattern": Row(
        {"robust_accuracy@linf-8/255": ["warn", {"min": 0.9}], "robust_accuracy@linf-*": ["error", {"min": 0.1}]},
        {"robust_accuracy@linf-8/255:min": "failed", "robust_accuracy@linf-2/255:min": "passed"},
        verdict="passed",
    ),
    "epsilon as a number": Row(
        {"robust_accuracy@linf-0.0314": ["error", {"min": 0.1}]}, {"robust_accuracy@linf-8/255:min": "passed"}
    ),
    "one perturbation": Row(
        {f"robust_accuracy@{FGSM}": ["error", {"min": 0.6}]}, {f"robust_accuracy@{FGSM}:min": "passed"}
    ),
    "a noise by its id": Row(
        {"robust_accuracy@salt@linf-8/255": ["error", {"min": 0.6}]},
        {"robust_accuracy@salt@linf-8/255:min": "passed"},
        snap(judged=judged({"salt@linf-8/255": first(700)}, "noise")),
    ),
    "noises alone": Row(
        {"robust_accuracy": ["error", {"min": 0.6}]},
        {"robust_accuracy:min": "inconclusive"},
        snap(judged=judged({"salt@linf-8/255": first(700)}, "noise")),
    ),
    "no attack": Row(ROBUST_DROP | {"robust_accuracy@linf-8/255": "off"}, {}, snap(judged=()), verdict="inconclusive"),
    "noise in the ball of an attack": Row(
        {"robust_accuracy": ["error", {"min": 0.6}]},
        {"robust_accuracy@linf-8/255:min": "passed"},
        snap(judged=(*judged({PGD: first(700)}), *judged({"salt@linf-8/255": first(0)}, "noise"))),
    ),
    "mean within": Row({"relative_error@fc": ["error", {"max": 1.0}]}, {FC: "passed"}, SEEN),
    "mean above": Row({"relative_error@fc": ["error", {"max": 0.5}]}, {FC: "failed"}, SEEN),
    "mean at its limit": Row(
        {"relative_error@fc": ["error", {"max": float(VALUES[2].mean())}]}, {FC: "inconclusive"}, SEEN
    ),
    "mean undefined": Row(
        {"relative_error@fc": ["error", {"max": 1.0}]},
        {FC: "inconclusive"},
        snap(measured=(layers({"fc": None}, values=np.full((1, 1000), np.nan)),)),
    ),
    "mean of a hostile NaN": Row(
        {"relative_error@fc": ["error", {"max": 1.0}]},
        {FC: "inconclusive"},
        snap(measured=(layers({"fc": math.nan}),)),
    ),
    "mean within on too few images": Row(
        {"relative_error@fc": ["error", {"max": 1.5}]},
        {FC: "inconclusive"},
        snap(99, measured=(layers({"conv1": 0.4, "conv2": 0.5, "fc": 0.9}, ["fc"], values=VALUES[:, :99]),)),
    ),
    "mean within on as few as are enough": Row(
        {"relative_error@fc": ["error", {"max": 1.5}]},
        {FC: "passed"},
        snap(100, measured=(layers({"conv1": 0.4, "conv2": 0.5, "fc": 0.9}, ["fc"], values=VALUES[:, :100]),)),
    ),
    "fragile neurons of another kind of drop": Row(
        {"fragile_neurons": ["error", {"max_rise": 0}]},
        {"fragile_neurons@conv1:max_rise": "inconclusive"},
        snap(),
        snap(neurons=(NeuronCount(layer="conv1", fragile=3, neurons=16, drop_value="mean"),)),
    ),
    "single images not kept": Row({"relative_error@fc": ["error", {"max": 1.0}]}, {FC: "inconclusive"}),
    "layers by pattern": Row(
        {"relative_error@conv*": ["error", {"max": 1.0}], "relative_error@conv2": "off"},
        {"relative_error@conv1:max": "passed"},
        SEEN,
    ),
    "a rise": Row(
        {"relative_error": ["error", {"max_rise": 0.1}]},
        {
            "relative_error@conv1:max_rise": "passed",
            "relative_error@conv2:max_rise": "failed",
            "relative_error@fc:max_rise": "passed",
        },
        MOVED,
        SEEN,
    ),
    "a renamed layer": Row(
        {"relative_error@head": ["error", {"max_rise": 0.1}]},
        {"relative_error@head:max_rise": "not-comparable"},
        snap(measured=(layers({"head": 0.9}, values=VALUES[2:]),)),
        SEEN,
        verdict="inconclusive",
    ),
    "nothing newly listed": Row({"mvl": ["error", {"no_new": True}]}, {"mvl:no_new": "passed"}, SEEN, SEEN),
    "newly listed": Row({"mvl": ["error", {"no_new": True}]}, {"mvl@conv2:no_new": "failed"}, MOVED, SEEN),
    "newly listed by a hair": Row(
        {"mvl": ["error", {"no_new": True}]},
        {"mvl@conv2:no_new": "inconclusive"},
        snap(measured=(layers({"conv1": 0.4, "conv2": 0.5, "fc": 0.9}, ["conv2"], values=VALUES),)),
        SEEN,
    ),
    "newly listed, by stored shares": Row(
        {"mvl": ["error", {"no_new": True}]},
        {"mvl@conv2:no_new": "failed"},
        snap(measured=(layers({"conv2": 0.9}, ["conv2"]),)),
    ),
    "listed as a renamed layer": Row(
        {"mvl": ["error", {"no_new": True}]},
        {"mvl:no_new": "not-comparable", "mvl@head:no_new": "not-comparable"},
        snap(measured=(layers({"head": 0.9}, ["head"]),)),
        verdict="inconclusive",
    ),
    "new outside the pattern": Row({"mvl@fc": ["error", {"no_new": True}]}, {"mvl@fc:no_new": "passed"}, MOVED, SEEN),
    "list at its length": Row({"mvl": ["error", {"max": 1}]}, {"mvl:max": "passed"}),
    "list too long": Row({"mvl": ["error", {"max": 0}]}, {"mvl:max": "failed"}),
    "no layers": Row(
        PRESETS["strict"] | {"clean_accuracy": "off", "robust_accuracy": "off", "skipped": "off"},
        {
            "mvl:no_new": "inconclusive",
            "fragile_neurons:max_rise": "inconclusive",
            "attack_health:max": "passed",
        },
        snap(measured=(), neurons=()),
        verdict="inconclusive",
    ),
    "fragile neurons at their limit": Row(
        {"fragile_neurons@conv1": ["error", {"max": 3}]}, {"fragile_neurons@conv1:max": "passed"}
    ),
    "one fragile neuron more": Row(
        {"fragile_neurons": ["error", {"max": 3, "max_rise": 0}]},
        {"fragile_neurons@conv1:max": "failed", "fragile_neurons@conv1:max_rise": "failed"},
        snap(neurons=(NeuronCount(layer="conv1", fragile=4, neurons=16),)),
    ),
    "fragile neurons on fewer images": Row(
        {"fragile_neurons": ["error", {"max_rise": 0}]},
        {"fragile_neurons@conv1:max_rise": "inconclusive"},
        snap(images=50),
    ),
    "fragile neurons of a new layer": Row(
        {"fragile_neurons": ["error", {"max_rise": 0}]},
        {"fragile_neurons@head:max_rise": "not-comparable", "fragile_neurons@conv1:max_rise": "not-comparable"},
        snap(neurons=(NeuronCount(layer="head", fragile=4, neurons=16),)),
        verdict="inconclusive",
    ),
    "attacks in doubt": Row(
        {"attack_health": ["error", {"max": 0}]},
        {"attack_health:max": "inconclusive"},
        snap(findings=(finding("zero-gradients", "warning"),)),
    ),
    "a failure beats a doubt": Row(
        {"attack_health": ["error", {"max": 0}], "clean_accuracy": ["error", {"min": 0.99}]},
        {"clean_accuracy:min": "failed", "attack_health:max": "inconclusive"},
        snap(findings=(finding("zero-gradients"),)),
        verdict="failed",
    ),
    "a finding that is off": Row(
        {"attack_health": ["error", {"max": 0}], "attack_health@zero-*": "off"},
        {"attack_health:max": "passed"},
        snap(findings=(finding("zero-gradients"),)),
    ),
    "a note is no finding": Row(
        {"attack_health": ["error", {"max": 0}]},
        {"attack_health:max": "passed"},
        snap(findings=(finding("zero-gradients", "note"),)),
    ),
    "skipped": Row({"skipped": ["error", {"max": 0}]}, {"skipped:max": "failed"}, snap(skipped=(ADD,))),
    "skipped elsewhere": Row(
        {"skipped@layer *": ["error", {"max": 0}]},
        {"skipped@layer *:max": "passed"},
        snap(skipped=(ADD.model_copy(update={"what": "neurons"}),)),
    ),
    "skipped before too": Row(
        {"skipped": ["error", {"no_new": True}]},
        {"skipped:no_new": "passed"},
        snap(skipped=(ADD,)),
        snap(skipped=(ADD,)),
    ),
    "skipped for another reason": Row(
        {"skipped": ["error", {"no_new": True}]},
        {"skipped:no_new": "failed"},
        snap(skipped=(ADD,)),
        snap(skipped=(ADD.model_copy(update={"reason": "other"}),)),
    ),
    "warnings do not count": Row(
        {"clean_accuracy": ["warn", {"min": 0.99}], "skipped": ["error", {"max": 0}]},
        {"clean_accuracy:min": "failed", "skipped:max": "passed"},
        verdict="passed",
    ),
}


@pytest.mark.slow_for("mean at its limit", "layers by pattern")
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_edges(row):
    found = ask(row.gates, row.run, row.baseline)
    assert {check.id: check.outcome for check in found.checks} == dict(row.expected)
    assert len(found.checks) == len(row.expected)
    if row.verdict:
        assert found.verdict == row.verdict
