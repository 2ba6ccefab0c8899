"""When another reading of images or labels becomes a finding."""

from __future__ import annotations

import pytest

from lsa_audit.records import Plausibility
from lsa_audit.records.plausibility import NOTHING_LEFT
from lsa_audit.stats.statistics import estimate

from .records import alternative, found, levels, record


def tried(*alternatives):
    return record(plausibility=Plausibility(alternatives=alternatives, passes=400, allowed=400))


def test_the_change_and_both_figures_are_said():
    (finding,) = found("plausibility", tried(alternative(82, 182)))
    assert finding.message.startswith(
        "With --mean .485,.456,.406 --std .229,.224,.225 clean accuracy would be 91.0 % instead of 41.0 % "
        "(on 200 images)"
    )
    assert (finding.level, finding.group, finding.subject) == ("warning", "result", record().data.name)


@pytest.mark.parametrize(
    ("before", "after", "p_value", "expected"),
    [(82, 92, 0.009, ["warning"]), (82, 91, 1e-9, []), (82, 182, 0.01, ["note"]), (182, 82, 1e-9, [])],
)
def test_a_small_or_uncertain_gain_is_none(before, after, p_value, expected):
    assert levels("plausibility", tried(alternative(before, after, p_value))) == expected


def test_the_best_change_alone_is_named_and_of_equals_the_first():
    better = alternative(82, 190, change="channels as BGR", options="--channel-order bgr", reading="channel order")
    order = alternative(20, 182, reading="class order", change="another order (a is class 3)", options="")
    (finding,) = found("plausibility", tried(alternative(82, 182), better, order))
    assert finding.message.startswith("With another order (a is class 3) clean accuracy would be 91.0 %")
    (finding,) = found("plausibility", tried(alternative(82, 182), better))
    assert finding.message.startswith("With --channel-order bgr clean accuracy would be 95.0 %")
    (finding,) = found("plausibility", tried(alternative(82, 188), better))
    assert finding.message.startswith("With --mean .485,.456,.406 --std .229,.224,.225 clean accuracy would be 94.0 %")
    assert finding.message.endswith(" --channel-order bgr (95.0 %) fits about as well.")
    (finding,) = found(
        "plausibility", tried(alternative(82, 188), alternative(82, 170, change="x", options="--mean 0"))
    )
    assert "about as well" not in finding.message


@pytest.mark.parametrize(("after", "expected"), [(109, []), (110, ["warning"])])
def test_an_order_that_leaves_many_wrong_is_none(after, expected):
    """A network without knowledge fits one order better than another."""
    order = alternative(20, after, reading="class order", change="labels +1", options="--label-offset 1")
    assert levels("plausibility", tried(alternative(20, 20), order)) == expected
    trial = Plausibility(alternatives=(order,), passes=0, allowed=9, note=NOTHING_LEFT)
    assert levels("plausibility", record(plausibility=trial)) == expected


@pytest.mark.parametrize(("after", "expected"), [(181, []), (182, ["warning"])])
def test_an_order_counts_for_less_where_no_input_was_tried(after, expected):
    order = alternative(20, after, reading="class order", change="labels +1", options="--label-offset 1")
    trial = Plausibility(alternatives=(order,), passes=0, allowed=9, note="the scan makes too few passes")
    assert levels("plausibility", record(plausibility=trial)) == expected


def test_nothing_was_tried():
    assert levels("plausibility", record()) == []
    assert levels("plausibility", tried()) == []


@pytest.mark.parametrize(
    ("before", "after", "p_value", "expected"),
    [(40, 60, 0.04, ["note"]), (40, 59, 0.04, []), (40, 60, 1.0, []), (60, 40, 0.04, [])],
)
def test_a_gain_that_may_be_chance_is_a_note(before, after, p_value, expected):
    assert levels("plausibility", tried(alternative(before, after, p_value))) == expected


def test_what_may_be_chance_is_named_with_both_figures():
    (finding,) = found("plausibility", tried(alternative(40, 60, 0.04, reading="pixel range", change="c", options="")))
    assert finding.message.startswith(
        "With c clean accuracy would be 30.0 % instead of 20.0 % on 200 images, which may"
    )


@pytest.mark.parametrize(
    ("right", "total", "tested", "note", "expected"),
    [
        (16, 48, 31, "", ["note"]),
        (16, 48, 32, "", []),
        (16, 48, 31, NOTHING_LEFT, []),
        # Chance is 10 %, which another rule speaks of; the interval of 24 of 48 reaches above 60 %.
        (6, 48, 31, "", []),
        (24, 48, 31, "", []),
    ],
)
def test_too_few_images_to_tell_are_said_where_the_accuracy_is_low(right, total, tested, note, expected):
    seen = estimate(8, tested)
    entry = alternative(8, 8, 1.0).model_copy(update={"before": seen, "after": seen})
    trial = Plausibility(alternatives=(entry,), passes=40, allowed=40, note=note)
    assert levels("plausibility", record(plausibility=trial, clean=estimate(right, total))) == expected


def test_images_that_were_saved_wrongly_are_to_be_saved_anew():
    entry = alternative(82, 182, reading="pixel range", change="inverted pixels, 1 - x", options="")
    (finding,) = found("plausibility", tried(entry))
    assert finding.message == (
        "With inverted pixels, 1 - x clean accuracy would be 91.0 % instead of 41.0 % (on 200 images). Nothing was "
        "changed: look at how the images were saved, and give them that way."
    )
