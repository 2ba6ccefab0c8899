"""Which gate looks at what."""

from __future__ import annotations

import doctest

import pytest

from lsa_audit.gating import patterns as targets
from lsa_audit.gating import words
from lsa_audit.gating.patterns import balls, chosen, matches, matches_ball

from .builders import FGSM, PGD, SMALL, first, gates, judged, snap

LIMIT = ["error", {"max": 1}]


@pytest.mark.parametrize("module", [targets, words])
def test_examples(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "", True),
        ("layer?.conv", "layer1.conv", True),
        ("layer?.conv", "layer10.conv", False),
        ("a[bc]", "a[bc]", True),
        ("a[bc]", "ab", False),
        ("Conv1", "conv1", False),
        ("*a" * 40 + "b", "a" * 400, False),
    ],
)
def test_patterns(pattern, name, expected):
    assert matches(pattern, name) is expected


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("linf-8/255", "linf-8/255", True),
        ("linf-0.0314", "linf-8/255", True),
        ("linf-0.03", "linf-8/255", False),
        ("l2-0.0314", "linf-8/255", False),
        ("linf-16/510", "linf-8/255", True),
        ("linf-*", "linf-8/255", True),
        ("linf-8/255", PGD, False),
        ("pgd@*", PGD, True),
        ("pgd@linf-0.0314", PGD, True),
        ("fgsm@linf-0.0314", PGD, False),
        ("linf", "linf-8/255", False),
        ("-", "-", True),
    ],
)
def test_balls_are_matched_by_their_epsilon(pattern, name, expected):
    assert matches_ball(pattern, name) is expected


def test_balls_hold_attacks_and_no_noises():
    run = snap(judged=(*snap().judged, *judged({"salt@linf-8/255": first(3)}, "noise")))
    assert balls(run) == {"linf-8/255": [FGSM, PGD], "linf-2/255": [SMALL]}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["relative_error"], {"relative_error": ["conv1", "conv2"]}),
        (["relative_error@conv1", "relative_error"], {"relative_error@conv1": ["conv1"], "relative_error": ["conv2"]}),
        (
            ["relative_error@conv*", "relative_error@c*"],
            {"relative_error@conv*": ["conv1", "conv2"], "relative_error@c*": []},
        ),
        (
            ["relative_error@con??", "relative_error@conv*"],
            {"relative_error@con??": [], "relative_error@conv*": ["conv1", "conv2"]},
        ),
        (["mvl"], {}),
    ],
)
def test_a_name_goes_to_the_most_specific_gate(keys, expected):
    written = gates({key: ["error", {"no_new": True}] if key == "mvl" else LIMIT for key in keys})
    assert chosen(written, "relative_error", ["conv1", "conv2"]) == expected
