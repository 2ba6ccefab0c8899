from __future__ import annotations

import doctest
import math

import pytest

from lsa_audit.page import text
from lsa_audit.records import Estimate
from lsa_audit.stats.statistics import estimate


def test_the_examples_in_the_docstrings() -> None:
    result = doctest.testmod(text)
    assert (result.failed, result.attempted > 5) == (0, True)


@pytest.mark.parametrize("raw", ["a\nb", "a\tb", "\x1b[2J", "\u202egnp.exe", "\u2028", "\ud800", "\x00", "\u200b"])
def test_no_control_character_survives(raw: str) -> None:
    for shown in (text.name(raw), text.sentence(raw)):
        assert shown.isprintable()
        shown.encode("utf-8")


def test_a_share_stands_before_its_interval() -> None:
    assert text.share(estimate(183, 200)) == "91.5 86.8–94.6"  # noqa: RUF001


def test_an_empty_name_is_a_dash_and_a_long_one_is_cut() -> None:
    assert text.name("") == text.DASH
    assert len(text.name("x" * 1_000)) == text.NAME_LIMIT
    assert text.name("a" * 100 + "z" * 100).endswith("z")


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_dash(value: float | None) -> None:
    assert text.number(value) == text.percent(value) == text.p_value(value) == text.DASH
    assert text.number_range(value, 1.0) == text.number_range(1.0, value) == text.DASH


def test_percentages_keep_their_sign_and_never_round_to_the_ends() -> None:
    assert text.percent(-0.0312) == "−3.1 %"  # noqa: RUF001
    assert text.percent(-0.00001) == "−0.1 %"  # noqa: RUF001
    assert text.percent(0.99999) == "99.9 %"
    assert text.percent(0.0) == "0.0 %"


def test_an_interval_of_a_share_has_one_unit() -> None:
    assert text.interval(estimate(183, 200)) == "86.8–94.6 %"  # noqa: RUF001
    assert text.interval(Estimate(count=0, total=0, value=0, low=math.nan, high=1)) == text.DASH


def test_counts_shapes_and_digests() -> None:
    assert text.count(None) == text.shape(None) == text.digest(None) == text.DASH
    assert text.shape(()) == "scalar"
    assert text.shape((3, 32, 32)) == "3x32x32"
    assert text.digest("0123456789abcdef") == "0123456789ab…"
    assert text.scaled(999_600) == "1 M"
    assert text.scaled(2 * 10**15) == "2 P"
    assert text.duration(119.96) == "120.0 s"
    assert text.duration(math.nan) == text.DASH


def test_an_unknown_measure_keeps_its_name() -> None:
    assert text.measure_name("relative-error") == "relative error"
    assert text.measure_name("new-one\x1b") == "new one\\x1b"
