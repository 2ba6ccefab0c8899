"""What the gates refuse to judge, and what is only shown."""

from __future__ import annotations

import numpy as np
import pytest

from lsa_audit.errors import DataError, UsageError
from lsa_audit.gating.snapshot import pack

from .builders import (
    CLEAN_DROP,
    FGSM,
    MEASURED,
    PGD,
    ROBUST_DROP,
    SEEN,
    SELF,
    SMALL,
    ask,
    attack,
    digests,
    first,
    judged,
    layers,
    snap,
)

REFUSED = {
    "an epsilon that was not run": ({"robust_accuracy@linf-0.3": ["error", {"min": 0.1}]}, {}, {}, "linf-8/255"),
    "an attack that was not run": ({"robust_accuracy@cascade@*": ["error", {"min": 0.1}]}, {}, {}, PGD),
    "a renamed layer": ({"relative_error@head": ["error", {"max": 1}]}, {}, {}, "conv1, conv2, fc"),
    "a renamed layer in the list": ({"mvl@head": ["error", {"max": 1}]}, {}, {}, "conv1, conv2, fc"),
    "a layer without dropped neurons": ({"fragile_neurons@fc": ["error", {"max": 1}]}, {}, {}, "conv1"),
    "an attack that measured nothing": (
        {"relative_error": ["error", {"max": 1, "under": FGSM}]},
        {},
        {},
        f"there is {PGD}",
    ),
    "another measure": (
        {"relative_error": ["error", {"max": 1}]},
        {"measured": (layers({"fc": 1.0}, measure="cosine"),)},
        {},
        "the run measured cosine",
    ),
    "another epsilon": (
        {"robust_accuracy": ["error", {"max_drop": 0.02}]},
        {"judged": judged({"pgd@linf-0.1": first(500)})},
        {},
        "pgd@linf-0.1: run, in the baseline not run",
    ),
    "an attack less in the ball": (
        {"robust_accuracy": ["error", {"max_drop": 0.02}]},
        {"judged": judged({FGSM: first(500)})},
        {},
        f"{PGD}: not run, in the baseline run",
    ),
    "a ball less": (
        {"robust_accuracy": ["error", {"max_drop": 0.02}]},
        {"judged": judged({FGSM: first(700), PGD: first(500)})},
        {},
        f"{SMALL}: not run, in the baseline run",
    ),
    "another version": (
        ROBUST_DROP,
        {},
        {
            "judged": (
                judged({FGSM: first(700)})[0],
                judged({PGD: first(500)})[0].model_copy(update={"perturbation": attack(PGD, version=2)}),
            )
        },
        f"{PGD} version: 1, in the baseline 2",
    ),
    "another precision": (ROBUST_DROP, {"precision": "bf16"}, {}, "precision: bf16, in the baseline float32"),
    "other transforms": (
        CLEAN_DROP,
        {"data": snap().data.model_copy(update={"transforms": ("cropped",)})},
        {},
        "transforms: cropped",
    ),
    "other labels": (CLEAN_DROP, {"labels": SELF}, {}, "label source: self, in the baseline dataset"),
    "other images": (CLEAN_DROP, {"digests": digests(np.arange(5, 1005))}, {}, "images: 5 of 1,000 are not in"),
    "no digests and other data": (
        CLEAN_DROP,
        {"digests": None, "data": snap().data.model_copy(update={"sha256": "0" * 64})},
        {},
        f"images (sha256): {'0' * 64}",
    ),
    "layers that the baseline did not measure": (
        {"relative_error": ["error", {"max_rise": 0.1}]},
        {},
        {"measured": ()},
        f"layers under {PGD}: measured, in the baseline not measured",
    ),
    "another eta": (
        {"mvl": ["error", {"no_new": True}]},
        {},
        {"measured": (layers({"fc": 1.0}, ["fc"], eta=1.0),)},
        f"eta of the layers under {PGD}: 0.8, in the baseline 1.0",
    ),
}


@pytest.mark.parametrize(("written", "run", "baseline", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_judged_is_refused(written, run, baseline, said):
    with pytest.raises(UsageError) as caught:
        ask(written, snap(**run), snap(**baseline))
    assert said in str(caught.value)


def test_every_refusal_is_named_at_once_and_only_once():
    with pytest.raises(UsageError) as caught:
        ask(
            {**CLEAN_DROP, "robust_accuracy": ["warn", {"max_drop": 0.02}]},
            snap(labels=SELF, precision="bf16"),
            snap(name="main", judged=judged({FGSM: first(700)})),
        )
    for name in ("label source", "precision", PGD, SMALL):
        assert str(caught.value).count(f"{name}: ") == 1
    assert "cannot be compared with main" in caught.value.what


@pytest.mark.parametrize(
    "written",
    [
        {"clean_accuracy": ["error", {"min": 0.5}]},
        {"robust_accuracy": ["off", {"max_drop": 0.02}]},
        {"skipped": ["error", {"no_new": True}]},
        {"attack_health": ["error", {"max": 0}]},
    ],
    ids=str,
)
def test_what_needs_no_comparable_baseline_is_judged_without(written):
    ask(written, snap(labels=SELF, digests=digests(np.arange(5, 1005))), snap())


@pytest.mark.parametrize(
    "written",
    [
        ROBUST_DROP,
        {"robust_accuracy": ["error", {"min": 0.1}]},
        {"robust_accuracy": ["error", {"max_drop": 0.5}], "robust_accuracy@linf-2/255": "off"},
    ],
    ids=["another ball is named", "a limit that compares nothing", "the ball is off"],
)
def test_a_ball_less_is_allowed_where_nothing_asks_for_it(written):
    found = ask(written, snap(judged=judged({FGSM: first(700), PGD: first(500)})), snap())
    assert [check.target for check in found.checks] == ["linf-8/255"]
    assert "perturbations that only one has" in [entry.what for entry in found.differences]


def test_other_weights_are_shown_and_not_refused():
    model = snap().model.model_copy(update={"mean": (0.13,), "std": (0.31,)})
    found = ask(CLEAN_DROP, snap(model=model), snap())
    assert [entry.what for entry in found.differences] == ["model mean", "model std"]
    assert found.verdict == "passed"


@pytest.mark.parametrize(
    "broken",
    [
        {"digests": "!"},
        {"clean": snap().clean.model_copy(update={"bits": "!"})},
        {"judged": tuple(entry.model_copy(update={"robust": pack(first(3, 9))}) for entry in snap().judged)},
        {"measured": (MEASURED.model_copy(update={"values": "AAAA"}),)},
        {"seed": -1},
    ],
    ids=lambda broken: next(iter(broken)),
)
@pytest.mark.parametrize("side", ["run", "baseline"])
def test_hostile_snapshots_are_refused(broken, side):
    written = {**CLEAN_DROP, **ROBUST_DROP, "relative_error": ["warn", {"max": 3, "max_rise": 1}]}
    sides = {"run": SEEN, "baseline": SEEN} | {side: SEEN.model_copy(update=broken)}
    with pytest.raises(DataError):
        ask(written, **sides)
