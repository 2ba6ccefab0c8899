"""Runs, baselines and profiles from strangers: one line and exit code 2 or 4, or an answer; never a traceback."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsa_audit.__main__ import main
from lsa_audit.records.gating import Gating

from ..gating.builders import saved

NO_UTF8 = os.fsdecode(b"run\xff\xfe")
TEXTS = [
    "",
    "<script>alert(1)</script>",
    "\x1b[31m\n\ny",
    "../../x",
    "|`*[x](javascript:1)",
    "\u202e\u0000",
    "x" * 5000,
]
NUMBERS = [0, -1, 1, 2**31, 2**63, 10**400, 0.5, -1.0, 5e-324, 1e308, float("nan"), float("inf")]
ROUNDS = 12


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with a run `a` and its baseline `base`."""
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "a")
    assert main(["baseline", "update", "a", "--to", "base", "--preset", "strict"]) == 0
    return tmp_path


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield (*path, key)
        yield from places(below, (*path, key))


def spoilt(content: Any, chance: random.Random) -> Any:
    """The content with one or two entries replaced, mostly by another value of the same type, or taken away."""
    content = copy.deepcopy(content)
    for _ in range(chance.choice((1, 2))):
        # Each top-level field as often as the next: the lists of layers would take all rounds.
        field = chance.choice(list(content))
        path = (field, *chance.choice([(), *places(content[field])]))
        at = content
        for key in path[:-1]:
            at = at[key]
        before = at[path[-1]]
        if chance.random() < 0.1:
            del at[path[-1]]
        elif isinstance(before, list):
            at[path[-1]] = chance.choice([[], before + before, before[:1]])
        elif isinstance(before, str):
            at[path[-1]] = chance.choice(TEXTS)
        else:
            at[path[-1]] = chance.choice(NUMBERS) if chance.random() < 0.8 else chance.choice([None, True, {}, [[]]])
    return content


COMMANDS = {
    "a/record.json": (
        ["gate", "a", "--baseline", "base", "--preset", "strict"],
        ["report", "a", "--output", "markdown=m", "--output", "sarif=s", "--output", "junit=j", "--output", "json=r"],
        ["diff", "a", "base"],
    ),
    "base/baseline.json": (
        ["gate", "a", "--baseline", "base", "--preset", "strict"],
        ["baseline", "show", "base"],
        ["diff", "base", "a", "--format", "json"],
    ),
    "a/gate.json": (["report", "a", "--output", "markdown=m", "--output", "sarif=s", "--output", "github=g"],),
}


@pytest.mark.slow_for("a/gate.json")
@pytest.mark.parametrize("name", COMMANDS)
def test_spoilt_files_are_refused_or_judged(name, here, capsys):
    assert main(["gate", "a", "--baseline", "base", "--preset", "strict", "--output", "json=a/gate.json"]) == 0
    chance = random.Random(0)  # noqa: S311 - it chooses what is spoilt
    content = json.loads(Path(name).read_text())
    for attempt in range(ROUNDS):
        Path(name).write_text(json.dumps(spoilt(content, chance)))
        capsys.readouterr()
        code = main(COMMANDS[name][attempt % len(COMMANDS[name])])
        streams = capsys.readouterr()
        assert code in (0, 1, 2, 3, 4), streams.err
        assert len(streams.err.splitlines()) == (code in (2, 4))
        assert "\x1b" not in streams.out + streams.err
        assert list(here.rglob(".*")) == []


def change(field: str, place: int, **values: Any) -> None:
    content = json.loads(Path("a/record.json").read_text())
    content[field][place] |= values
    Path("a/record.json").write_text(json.dumps(content))


def error_of(capsys: Any, *command: str, code: int = 2) -> str:
    capsys.readouterr()
    assert main(list(command)) == code
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    return error


@pytest.mark.parametrize("command", [["gate", "a"], ["report", "a"], ["diff", "a", "base"]], ids=lambda words: words[0])
def test_a_record_that_contradicts_itself_is_one_line(command, here, capsys):
    sweep = {"name": "pgd", "norm": "linf", "epsilons": [0.1, 0.2], "unbroken": 1, "median": None}
    content = json.loads(Path("a/record.json").read_text())
    Path("a/record.json").write_text(json.dumps(content | {"sweeps": [sweep | {"first_fooled": [3]}]}))
    assert "a count for each epsilon" in error_of(capsys, *command)
    Path("a/record.json").write_text(json.dumps(content))
    content["attacks"][0]["perturbation"]["epsilon"] = 1e308
    Path("a/record.json").write_text(json.dumps(content))
    assert "is not a distance" in error_of(capsys, *command)


def test_a_baseline_with_an_endless_epsilon_is_one_line(here, capsys):
    content = json.loads(Path("base/baseline.json").read_text())
    content["snapshot"]["judged"][0]["perturbation"]["epsilon"] = 1e308
    Path("base/baseline.json").write_text(json.dumps(content))
    for command in (["gate", "a", "--baseline", "base"], ["baseline", "show", "base"], ["diff", "base", "a"]):
        assert "is not as a scan writes it" in error_of(capsys, *command)


def test_names_that_are_no_utf8_are_told_all_the_same(here, capsys):
    shutil.copytree("a", NO_UTF8)
    profile = f"{NO_UTF8}.yaml"
    Path(profile).write_text("gates: {skipped: [error, {max: 0}]}\n")
    capsys.readouterr()
    assert main(["gate", NO_UTF8, "--baseline", NO_UTF8, "--profile", profile, "--json"]) == 0
    gating = Gating.model_validate_json(capsys.readouterr().out)
    assert (gating.run, gating.baseline, gating.profile) == (
        "run\ufffd\ufffd",
        "run\ufffd\ufffd",
        "run\ufffd\ufffd.yaml",
    )
    assert main(["baseline", "update", NO_UTF8, "--to", NO_UTF8]) == 0
    assert main(["diff", NO_UTF8, "base", "--format", "json"]) == 0


def test_places_that_cannot_be_are_one_line(here, capsys):
    long = "x" * 5000
    assert "cannot be read" in error_of(capsys, "baseline", "update", "a", "--to", long)
    Path("loop").symlink_to("loop")
    for command in (["gate", "loop"], ["gate", "a", "--baseline", "loop"], ["report", "loop"], ["diff", "a", "loop"]):
        assert "loop is no run" in error_of(capsys, *command)
    Path("base/baseline.json").unlink()
    Path("base/baseline.json").mkdir()
    assert "there is no baseline" in error_of(capsys, "baseline", "update", "a", "--to", "base")


def test_limits_at_the_edge_of_numbers_say_nothing_beside_the_verdict(here, capsys):
    Path("edge.yaml").write_text(
        "gates:\n"
        "  clean_accuracy: [error, {max_drop: 0.02, min: 1, alpha: 5.0e-324}]\n"
        "  robust_accuracy: [error, {max_drop: 0.9999999999999999, min: 1.0e-320, alpha: 0.4999999999999999}]\n"
        "  relative_error: [warn, {max: 1.0e+308, max_rise: 1.0e-320, alpha: 1.0e-300}]\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["gate", "a", "--baseline", "base", "--profile", "edge.yaml"]) == 1
    assert capsys.readouterr().err == ""


def test_more_gates_than_anybody_needs_are_refused(here, capsys):
    many = "".join(f"  relative_error@layer{place}*: [error, {{max: 1}}]\n" for place in range(1_001))
    Path("many.yaml").write_text(f"gates:\n{many}")
    assert "1,001 gates are more than 1,000" in error_of(capsys, "gate", "a", "--profile", "many.yaml")
