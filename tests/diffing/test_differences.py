from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from lsa_audit.diffing.differences import compare
from lsa_audit.diffing.layers import paired_moves
from lsa_audit.diffing.sides import Side
from lsa_audit.errors import DataError, UsageError
from lsa_audit.gating.snapshot import pack
from lsa_audit.records import Environment, LabelInfo, Skipped
from lsa_audit.records.diff import AccuracyChange, RunDiff
from lsa_audit.records.snapshot import Flags, NeuronCount, Snapshot
from lsa_audit.stats.statistics import holm

from ..gating.builders import FGSM, IMAGES, PGD, SMALL, attack, digests, finding, first, judged, layers, snap, spread
from ..reporting.builders import build


def side(snapshot: Snapshot, labels: Any = None, **changes: Any) -> Side:
    """A run whose images are called a, then their number."""
    images = snapshot.clean.count
    usual = {"image_ids": [f"a{row}" for row in range(images)], "environment": build().environment}
    return Side(snapshot, labels=np.arange(images) % 10 if labels is None else labels, **{**usual, **changes})


def diff(before: Snapshot, after: Snapshot, images: int = 3) -> RunDiff:
    return compare(side(before), side(after), images, "0.1.0")


def row(found: RunDiff, name: str) -> AccuracyChange:
    (entry,) = (entry for entry in found.accuracy if entry.id == name)
    return entry


def robust(**counts: int) -> dict[str, np.ndarray]:
    return {name: first(count) for name, count in zip((FGSM, PGD, SMALL), counts.values(), strict=True)}


def test_a_run_and_itself_show_no_difference() -> None:
    found = diff(snap(), snap())
    assert {entry.trend for entry in found.accuracy} == {"no-difference-shown"}
    assert {(entry.gained, entry.lost, entry.p_adjusted) for entry in found.accuracy} == {(0, 0, 1.0)}
    assert found.not_compared == found.differences == ()
    assert (found.images, found.named_by, found.environment_known) == (IMAGES, "image-id", True)
    assert [(entry.newly_wrong, entry.newly_right) for entry in found.flipped] == [(0, 0), (0, 0)]
    assert RunDiff.model_validate_json(found.model_dump_json()) == found


def test_clean_comes_first_then_balls_of_several_attacks_then_each_perturbation() -> None:
    noisy = (*snap().judged, *judged({"gaussian@linf-8/255": first(850)}, kind="noise"))
    found = diff(snap(judged=noisy), snap(judged=noisy))
    assert [(entry.id, entry.kind) for entry in found.accuracy] == [
        ("clean", "clean"),
        ("linf-8/255", "ball"),
        (FGSM, "attack"),
        (PGD, "attack"),
        (SMALL, "attack"),
        ("gaussian@linf-8/255", "noise"),
    ]
    assert row(found, "linf-8/255").attacks == (FGSM, PGD)
    assert row(found, "linf-8/255").before.count == 500


def test_gained_and_lost_are_counted_on_pairs_and_their_p_values_adjusted_over_the_table() -> None:
    right = np.roll(first(500), 40)
    right[::100] = False
    before, after = snap(), snap(judged=judged({**robust(a=700, b=500, c=800), PGD: right}))
    found = diff(before, after)
    pgd = row(found, PGD)
    assert pgd.gained == int((right & ~first(500) & first(900)).sum())
    assert pgd.lost == int((~right & first(500)).sum())
    assert pgd.after.count - pgd.before.count == pgd.gained - pgd.lost
    assert pgd.p_value == pytest.approx(stats.binomtest(pgd.gained, pgd.gained + pgd.lost).pvalue)
    assert [entry.p_adjusted for entry in found.accuracy] == pytest.approx(
        holm([entry.p_value for entry in found.accuracy]).tolist()
    )


@pytest.mark.parametrize(
    ("change", "trend"), [(60, "better"), (-60, "worse"), (3, "no-difference-shown"), (0, "no-difference-shown")]
)
def test_a_word_only_where_chance_is_ruled_out(change: int, trend: str) -> None:
    found = diff(snap(), snap(judged=judged(robust(a=700, b=500 + change, c=800))))
    assert row(found, PGD).trend == row(found, "linf-8/255").trend == trend
    assert row(found, FGSM).trend == "no-difference-shown"


def test_images_of_one_run_alone_are_left_out_and_said() -> None:
    after = snap(500, digests=digests(np.arange(900, 1_400)))
    found = diff(snap(), after)
    assert found.images == row(found, "clean").before.total == 100
    (entry,) = found.not_compared
    assert (entry.what, entry.before, entry.after) == ("images that only one run has", "900 of 1,000", "400 of 500")
    assert row(found, "clean").before.count == 0
    assert row(found, "clean").gained == 100
    assert found.flipped[0].right_images == ("a0", "a1", "a2")


def test_pairs_are_found_by_image_in_whatever_order() -> None:
    order = np.random.default_rng(0).permutation(IMAGES)
    shuffled = snap(
        digests=digests(order),
        clean=pack(first(900)[order]),
        judged=judged({name: flags[order] for name, flags in robust(a=700, b=500, c=800).items()}),
    )
    found = diff(snap(), shuffled)
    assert found.not_compared == ()
    assert {(entry.gained, entry.lost) for entry in found.accuracy} == {(0, 0)}


def test_other_settings_and_epsilons_are_listed_and_the_rest_goes_on() -> None:
    stronger = judged({FGSM: first(700), "pgd@linf-4/255": first(600)})
    slower = attack(PGD, steps=50, version=2)
    changed = stronger[0].model_copy(update={"perturbation": slower, "robust": pack(first(400))})
    found = diff(snap(), snap(judged=(*stronger, changed)))
    assert [entry.id for entry in found.accuracy] == ["clean", FGSM]
    assert {(entry.what, entry.before, entry.after) for entry in found.not_compared} == {
        (f"{PGD} steps", "20", "50"),
        (f"{PGD} version", "1", "2"),
        ("pgd@linf-4/255", "not run", "run"),
        (SMALL, "run", "not run"),
    }
    assert [entry.under for entry in found.flipped] == ["clean", FGSM]
    assert found.layers == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"digests": digests(np.arange(5_000, 6_000))}, "no image in common"),
        ({"judged": judged({"pgd@linf-4/255": first(3)})}, "no perturbation can be compared (pgd@linf-4/255: not run"),
        ({"precision": "bf16"}, "no perturbation can be compared (precision: float32, TF32 off before, bf16 after)"),
        (
            {"labels": LabelInfo(source="self", reason="x")},
            "other labels count as right: dataset before and self after",
        ),
    ],
)
def test_what_cannot_be_compared_at_all_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        diff(snap(), snap(**changes))
    assert said in raised.value.what
    assert raised.value.exit_code == 2


def test_runs_without_attacks_are_compared_on_clean_images() -> None:
    found = diff(snap(judged=(), measured=()), snap(judged=(), measured=(), clean=pack(first(850))))
    assert [(entry.id, entry.lost, entry.trend) for entry in found.accuracy] == [("clean", 50, "worse")]


def test_runs_without_digests_need_the_same_data() -> None:
    old = snap(digests=None)
    assert diff(old, snap()).images == IMAGES
    other = snap(data=snap().data.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(UsageError, match="no image in common"):
        diff(old, other)


def test_classes_are_compared_where_they_have_enough_images() -> None:
    labels = np.where(np.arange(IMAGES) < 5, 7, np.arange(IMAGES) % 2)
    names = snap().data.model_copy(update={"class_names": ("cat",)})
    before, after = snap(), snap(data=names, judged=judged(robust(a=700, b=440, c=800)))
    found = compare(side(before, labels), side(after, labels), 3, "0.1.0")
    clean, ball = found.classes
    assert [(entry.id, entry.label, entry.lost) for entry in clean.classes] == [("cat", 0, 0), ("1", 1, 0)]
    assert [(entry.lost, entry.trend) for entry in ball.classes] == [(30, "worse"), (30, "worse")]
    assert (ball.under, ball.left_out, found.classes_unknown) == ("linf-8/255", 1, None)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (Side(snap(), "baseline"), Side(snap(), "baseline"), "Neither side keeps the labels"),
        (side(snap(), np.arange(IMAGES)), side(snap(), np.arange(IMAGES)), "No class has 10 images"),
    ],
)
def test_why_there_are_no_classes(before: Side, after: Side, said: str) -> None:
    found = compare(before, after, 3, "0.1.0")
    assert found.classes == ()
    assert (found.classes_unknown or "").startswith(said)


def test_own_labels_make_no_classes() -> None:
    labels = LabelInfo(source="self", reason="no labels")
    found = diff(snap(labels=labels), snap(labels=labels))
    assert found.accuracy_name == "prediction stability"
    assert "own predictions" in (found.classes_unknown or "")


def test_a_baseline_gives_digests_and_a_run_ids_and_labels() -> None:
    after = snap(clean=pack(~first(1)))
    both = compare(Side(snap(), "baseline"), Side(after, "baseline"), 2, "0.1.0")
    assert (both.named_by, both.environment_known) == ("digest", False)
    assert both.flipped[0].wrong_images == ("00" * 8,)
    assert both.flipped[0].newly_right == 100
    assert both.flipped[0].right_images[1] == (901 * 2_654_435_761).to_bytes(8, "little").hex()
    one = compare(side(snap()), Side(after, "baseline"), 2, "0.1.0")
    assert (one.named_by, one.flipped[0].right_images) == ("image-id", ("a900", "a901"))
    assert one.classes
    bare = compare(Side(snap(digests=None)), Side(after.model_copy(update={"digests": None})), 1, "0.1.0")
    assert (bare.named_by, bare.flipped[0].right_images) == ("row", ("900",))


def test_layers_are_matched_by_name_and_compared_on_pairs() -> None:
    still, moved = spread([0.4, 0.5, 0.6]), spread([0.4, 0.5, 0.6]) * np.array([[1.0], [1.02], [0.9]])
    before = snap(measured=(layers({"conv1": 0.4, "conv2": 0.5, "old": 0.6}, ["old"], values=still),))
    after = snap(measured=(layers({"new": 0.6, "conv2": 0.5, "conv1": 0.4}, ["new"], values=moved[::-1]),))
    (table,) = diff(before, after).layers
    assert (table.only_before, table.only_after) == (("old",), ("new",))
    assert (table.mvl_before, table.mvl_after) == (("old",), ("new",))
    conv2, conv1 = table.layers
    assert (conv2.layer, conv2.trend) == ("conv2", "worse")
    test = stats.ttest_rel(*(side[1].astype("<f4") for side in (moved, still)))
    interval = test.confidence_interval()
    assert conv2.difference == pytest.approx(0.02 * still[1].mean(), rel=1e-3)
    assert (conv2.low, conv2.high) == pytest.approx((interval.low, interval.high), rel=1e-3)
    assert (conv1.layer, conv1.difference, conv1.p_adjusted, conv1.trend) == ("conv1", 0.0, 1.0, "no-difference-shown")


def test_paired_moves_against_scipy_with_undefined_values() -> None:
    generator = np.random.default_rng(1)
    before, after = generator.lognormal(size=(2, 4, 50))
    before[0, :5] = after[0, 3:9] = after[1] = np.nan
    after[2, 1:] = np.nan
    known, nothing, single, last = paired_moves(before, after)
    both = slice(9, None)
    tests = [stats.ttest_rel(after[0, both], before[0, both]), stats.ttest_rel(after[3], before[3])]
    for move, test, adjusted in zip((known, last), tests, holm([test.pvalue for test in tests]), strict=True):
        interval = test.confidence_interval()
        assert (move["low"], move["high"]) == pytest.approx((interval.low, interval.high))
        assert move["p_adjusted"] == pytest.approx(adjusted)
    assert known["before"] == pytest.approx(before[0, both].mean())
    assert set(nothing.values()) == {None}
    assert single["difference"] == pytest.approx(after[2, 0] - before[2, 0])
    assert single["low"] is single["p_adjusted"] is single["trend"] is None


def test_a_constant_shift_leaves_no_doubt() -> None:
    values = np.tile([1.0, 2.0, 4.0], (1, 5))
    (move,) = paired_moves(values, values + 1.0)
    assert (move["difference"], move["low"], move["high"], move["trend"]) == (1.0, 1.0, 1.0, "worse")


def test_without_single_images_the_means_say_nothing_of_chance() -> None:
    before = snap(measured=(layers({"conv1": 0.4, "fc": None}),))
    after = snap(measured=(layers({"conv1": 0.5, "fc": 0.2}, eta=1.0),))
    found = diff(before, after)
    (table,) = found.layers
    assert (table.paired, table.lists_compared) == (False, False)
    conv1, fc = table.layers
    assert (conv1.difference, conv1.low, conv1.trend) == (pytest.approx(0.1), None, None)
    assert (fc.before, fc.after, fc.difference) == (None, 0.2, None)
    (said,) = found.not_compared
    assert (said.what, said.before, said.after) == (f"eta of the layers under {PGD}", "0.8", "1.0")


@pytest.mark.parametrize(
    ("measured", "said"),
    [((), f"layers under {PGD}"), ((layers({"conv1": 1.0}, measure="l2"),), "measure of the layers")],
)
def test_layers_measured_otherwise_are_listed(measured: tuple[Any, ...], said: str) -> None:
    for found in (diff(snap(), snap(measured=measured)), diff(snap(measured=measured), snap())):
        assert found.layers == ()
        assert said in found.not_compared[0].what


def test_neurons_findings_and_skipped_things_that_came_and_went() -> None:
    slow = Skipped(what="autoattack", reason="time", detail="No time was left.")
    before = snap(
        neurons=(NeuronCount(layer="conv1", fragile=3, neurons=16), NeuronCount(layer="old", fragile=1, neurons=4)),
        findings=(finding("zero-gradients"), finding("noise-beats-gradient")),
        skipped=(slow,),
    )
    after = snap(
        neurons=(NeuronCount(layer="new", fragile=2, neurons=8), NeuronCount(layer="conv1", fragile=5, neurons=16)),
        findings=(finding("zero-gradients", "warning"), finding("noise-beats-gradient")),
        skipped=(slow.model_copy(update={"detail": "Other words."}), slow.model_copy(update={"what": "layer fc"})),
    )
    found = diff(before, after)
    assert [(entry.layer, entry.fragile_before, entry.fragile_after) for entry in found.neurons] == [
        ("new", None, 2),
        ("conv1", 3, 5),
        ("old", 1, None),
    ]
    assert [entry.level for entry in found.findings.new] == ["warning"]
    assert [entry.level for entry in found.findings.gone] == ["error"]
    assert (found.findings.same, found.skipped.same) == (1, 1)
    assert [entry.what for entry in found.skipped.new] == ["layer fc"]
    assert found.skipped.gone == ()
    assert (found.before.doubts, found.after.doubts) == (
        ("zero-gradients", "noise-beats-gradient"),
        ("noise-beats-gradient",),
    )


def test_other_models_data_and_environments_are_shown() -> None:
    model = snap().model.model_copy(update={"mean": (0.5, 0.5, 0.5)})
    data = snap().data.model_copy(update={"transforms": ("resized",), "selection": "all"})
    machine: Environment = build().environment.model_copy(update={"threads": 8, "packages": {"torch": "2.11.0"}})
    found = compare(side(snap()), side(snap(model=model, data=data, seed=3), environment=machine), 3, "0.1.0")
    shown = {entry.what: (entry.before, entry.after) for entry in found.differences}
    assert shown["model mean"] == ("0.485; 0.456; 0.406", "0.5; 0.5; 0.5")
    assert shown["seed"] == ("0", "3")
    assert shown["transforms"] == ("scaled from 0..255 to [0, 1]", "resized")
    assert shown["data selection"][1] == "all"
    assert shown["environment threads"] == ("2", "8")
    assert shown["package torch"] == ("2.10.0", "2.11.0")
    assert shown["package timm"] == ("1.0.20", "not there")


@pytest.mark.slow_for("changes3")
@pytest.mark.parametrize(
    "changes",
    [
        {"clean": Flags(count=0, bits="")},
        {"digests": "not base64!"},
        {"clean": Flags(count=IMAGES, bits="AAAA")},
        {"measured": (layers({"conv1": 1.0}).model_copy(update={"values": "AAAA"}),)},
    ],
)
def test_a_hostile_snapshot_is_a_data_error(changes: dict[str, Any]) -> None:
    for pair in ((snap(), snap(**changes)), (snap(**changes), snap())):
        with pytest.raises(DataError):
            diff(*pair)
