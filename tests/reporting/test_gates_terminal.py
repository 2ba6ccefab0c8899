"""What `gate` prints, on hostile names too."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lsa_audit.reporting.gates_terminal import summary, to_json

from . import gating_records as records


def printed(gating, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(summary(gating))
    return stream.getvalue()


def test_the_gravest_check_comes_first_and_waivers_are_told():
    out = printed(records.failed())
    assert out.startswith("The gates fail: resnet20-cifar10 against baseline.json\n200 images, all of them paired.")
    marks = ["failed        ", "inconclusive  ", "passed        ", "waived        ", "failed (warn) "]
    places = [out.index(f"  {mark}") for mark in marks]
    assert places == sorted(places)
    assert "Waived: known; see the notes" in out
    assert "was new (until 2024-12-31; it excuses nothing any more)" in " ".join(out.split())
    assert "no check needs it: it can go" in out
    assert "sha256 12fca82f0ac4 before, sha256 3f2a9c51d0e8 now" in out
    assert "--accept REASON" in " ".join(out.split())


def test_what_would_decide_is_told():
    assert "About 410 images would decide" in printed(records.inconclusive())
    without = records.gating(records.check(outcome="inconclusive"), baseline=None, images_paired=None)
    assert "name one with --baseline" in printed(without)
    nothing = records.gating().model_copy(update={"checks": ()})
    assert "No gate looked at anything" in printed(nothing)


def test_a_pass_ends_with_its_checks():
    out = printed(records.waived())
    assert out.startswith("The gates pass")
    assert "What to do" not in out


@pytest.mark.slow_for("20-name4", "80-name4")
@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "a\x1b[2Jb\nc", "\u202eabc", "x" * 5000, ""])
@pytest.mark.parametrize("width", [20, 80])
def test_a_hostile_name_is_only_text(name, width):
    out = printed(records.hostile(name), width)
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert max(len(line) for line in out.splitlines()) <= width
    if name.startswith("[red]"):
        assert "[red]x[/red]" in out
    assert to_json(records.hostile(name)).endswith("}\n")
