"""Epsilons and percentages as people write and read them."""

from __future__ import annotations

import pytest

from lsa_audit.errors import UsageError
from lsa_audit.units import format_epsilon, format_percent, parse_epsilon


@pytest.mark.parametrize(
    ("text", "value"), [("8/255", 8 / 255), ("0.3", 0.3), (" 2/255 ", 2 / 255), (0, 0.0), (1, 1.0), ("1e-3", 0.001)]
)
def test_epsilons_are_read(text, value):
    assert parse_epsilon(text) == value


@pytest.mark.parametrize("text", ["", "x", "8/0", "8//255", "-0.1", "nan", "inf", "1.01", "8", "8/2"])
def test_what_is_no_epsilon_is_refused(text):
    with pytest.raises(UsageError):
        parse_epsilon(text)


def test_a_whole_number_is_taken_for_a_forgotten_division():
    with pytest.raises(UsageError, match="did you mean 8/255"):
        parse_epsilon("8")


def test_l2_may_exceed_one():
    assert parse_epsilon("2.5", "l2") == 2.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8 / 255, "8/255"),
        (0.5 / 255, "0.5/255"),
        (0.3, "0.3"),
        (0.1, "0.1"),
        (0.2, "0.2"),
        (0.0, "0"),
        (1.0, "1"),
        (0.0123, "0.0123"),
    ],
)
def test_epsilons_are_shown_short_and_read_back(value, text):
    assert format_epsilon(value) == text
    assert parse_epsilon(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, "0.0 %"), (1, "100.0 %"), (0.99999, "99.9 %"), (0.00001, "0.1 %"), (0.9146, "91.5 %"), (0.5, "50.0 %")],
)
def test_no_percentage_rounds_into_0_or_100(fraction, text):
    assert format_percent(fraction) == text
