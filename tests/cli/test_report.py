"""`lsa-audit report`: the same run in every format, whole files or none, and no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_audit.__main__ import main
from lsa_audit.cli import rendering
from lsa_audit.cli.rendering import Output, parse
from lsa_audit.errors import OutputError, UsageError
from lsa_audit.records import AuditRecord
from lsa_audit.records.gating import GateCheck, Gating
from lsa_audit.reporting import FORMATS, RUN_FILES, github, markdown, sarif
from lsa_audit.reporting.json import read
from lsa_audit.reporting.shown import Shown

RECORD = Path(__file__).parent.parent / "reporting" / "gold" / "findings.json"


@pytest.fixture
def record() -> AuditRecord:
    return read(RECORD.read_bytes())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder without gates and without a gallery."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "record.json").write_bytes(RECORD.read_bytes())
    np.savez_compressed(folder / "evidence.npz", labels=np.arange(3))
    return folder


def judged() -> Gating:
    failed = GateCheck(
        id="clean_accuracy:min",
        gate="clean_accuracy",
        kind="clean_accuracy",
        target="",
        level="error",
        limit="min",
        allowed=0.99,
        outcome="failed",
        sentence="91.5 % are right; at least 99.0 % are asked for",
        line=4,
    )
    return Gating(
        tool_version="0.1.0",
        judged_on="2025-01-02",
        run="run",
        baseline=None,
        profile="ci.yaml",
        images=200,
        images_paired=None,
        checks=(failed,),
    )


def error_of(arguments: list[str], capsys: Any) -> str:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


@pytest.mark.slow_for("html")
@pytest.mark.parametrize("name", FORMATS)
def test_each_format_goes_to_the_standard_output(name: str, run: Path, record: AuditRecord, capfdbinary: Any) -> None:
    assert main(["report", str(run), "--format", name]) == 0
    shown = capfdbinary.readouterr()
    assert shown.err == b""
    assert shown.out == FORMATS[name][1](Shown(record)).encode()


def test_without_a_format_it_is_markdown(run: Path, record: AuditRecord, capfdbinary: Any) -> None:
    assert main(["report", str(run / "record.json")]) == 0
    assert capfdbinary.readouterr().out == markdown.render(Shown(record)).encode()


def test_several_at_once(run: Path, record: AuditRecord, tmp_path: Path, capfdbinary: Any) -> None:
    files = {"sarif": tmp_path / "a.sarif", "github": tmp_path / "b.md"}
    outputs = [part for name, path in files.items() for part in ("--output", f"{name}={path}")]
    assert main(["report", str(run), "--output", "json=-", *outputs]) == 0
    assert files["sarif"].read_text(encoding="utf-8") == sarif.render(Shown(record))
    assert files["github"].read_text(encoding="utf-8") == github.render(Shown(record))
    assert json.loads(capfdbinary.readouterr().out)["model"]["name"] == "resnet20"


def test_one_file_beside_others(run: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.xml", tmp_path / "other.sarif"
    arguments = ["report", str(run), "--format", "junit", "--out", str(one), "--output", f"sarif={other}"]
    assert main(arguments) == 0
    assert one.read_text(encoding="utf-8").startswith("<?xml")
    assert json.loads(other.read_bytes())["version"] == "2.1.0"


def test_what_the_gates_said_is_told(run: Path, capsys: Any) -> None:
    (run / "gate.json").write_text(judged().model_dump_json(), encoding="utf-8")
    assert main(["report", str(run), "--format", "github-annotations"]) == 0
    assert (
        "::error file=ci.yaml,line=4,title=clean_accuracy%3Amin failed::91.5 %25 are right" in capsys.readouterr().out
    )


@pytest.mark.parametrize("place", ["run", "run/record.json"])
def test_a_record_that_was_kept_alone_is_enough(
    place: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    fields = json.loads(RECORD.read_bytes())
    scores = [{"label": 1, "name": "one", "clean": 1.0, "adversarial": 0.0}]
    flipped = {"place": 0, "image_id": "a", "perturbation": "pgd", "label": 1, "prediction": 2, "linf": 0.1, "l2": 1.0}
    fields["gallery"] = [{**flipped, "scores": scores}]
    (run / "record.json").write_text(json.dumps(fields), encoding="utf-8")
    (run / "evidence.npz").unlink()
    monkeypatch.chdir(run.parent)
    for name in FORMATS:
        assert main(["report", place, "--format", name, "--out", "report"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("content", ["{", "[]", '{"gating_version": 99}', '{"a": "\\u001b[31m"}'])
def test_a_broken_gate_file_is_one_line(content: str, run: Path, capsys: Any) -> None:
    (run / "gate.json").write_text(content, encoding="utf-8")
    said = error_of(["report", str(run)], capsys)
    assert "gate.json" in said
    assert said.count("\n") == 1
    assert "\x1b" not in said


def test_a_gallery_without_its_images_is_one_line(run: Path, record: AuditRecord, capsys: Any) -> None:
    fields = json.loads(RECORD.read_bytes())
    scores = [{"label": 1, "name": "one", "clean": 1.0, "adversarial": 0.0}]
    flipped = {"place": 0, "image_id": "a", "perturbation": "pgd", "label": 1, "prediction": 2, "linf": 0.1, "l2": 1.0}
    fields["gallery"] = [{**flipped, "scores": scores}]
    (run / "record.json").write_text(json.dumps(fields), encoding="utf-8")
    assert "gallery/clean" in error_of(["report", str(run), "--format", "html"], capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "sarfi"], "there is no report format 'sarfi'; did you mean sarif? there are json, markdown"),
        (["--format", "zzz"], "there is no report format 'zzz'; there are json"),
        (["--output", "sarif"], "--output sarif is not FORMAT=FILE; e.g."),
        (["--output", "sarif="], "--output sarif= is not FORMAT=FILE"),
        (["--output", "=x"], "there is no report format ''"),
        (["--output", "json=-", "--output", "html=-"], "two reports go to the standard output"),
        (["--format", "json", "--output", "html=-"], "two reports go to the standard output"),
        (["--output", "json=x", "--output", "html=./x"], "two reports go to x"),
        (["--output", "json=x", "--output", "html=link"], "two reports go to link"),
        (["--out", "missing/x"], "there is no folder missing for x"),
        (["--out", "run"], "run is a folder"),
        (["--out", "x" * 300], "is no place for a report"),
        (["--out", "record\0"], "is no place for a report"),
    ],
)
def test_a_wrong_place_or_format_is_found_before_anything_is_read(
    arguments: list[str], said: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(run.parent)
    Path("link").symlink_to("x")
    (run / "record.json").write_text("{")
    assert said in error_of(["report", "run", *arguments], capsys)
    assert sorted(path.name for path in run.parent.iterdir()) == ["link", "run"]


def test_no_run_is_a_usage_error(tmp_path: Path, capsys: Any) -> None:
    assert "is no run" in error_of(["report", str(tmp_path)], capsys)


def test_a_file_is_replaced_whole_or_not_at_all(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.sarif"
    target.write_text("before")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert main(["report", str(run), "--format", "sarif", "--out", str(target)]) == 2
    assert target.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.sarif", "run"]


def test_nothing_is_written_where_one_cannot_be_rendered(
    record: AuditRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_shown: Shown) -> str:
        raise OutputError("no")

    monkeypatch.setitem(FORMATS, "html", ("report.html", broken))
    outputs = parse([f"json={tmp_path / 'a.json'}", f"html={tmp_path / 'a.html'}"])
    with pytest.raises(OutputError):
        rendering.write(outputs, Shown(record))
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_read(tmp_path: Path) -> None:
    assert parse([]) == ()
    assert parse([f"sarif={tmp_path}/a=b", "html=-"]) == (
        Output("sarif", tmp_path / "a=b"),
        Output("html", None),
    )
    with pytest.raises(UsageError):
        parse(["-"])


def test_the_help_names_every_format(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["report", "--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in FORMATS if name not in shown] == []


def test_a_run_folder_holds_three_formats() -> None:
    assert [FORMATS[name][0] for name in RUN_FILES] == ["record.json", "report.md", "report.html"]


@pytest.mark.parametrize("name", ["record.json", "evidence.npz"])
@pytest.mark.parametrize("form", ["html", "json"])
def test_a_report_never_replaces_the_record_of_a_run(run, tmp_path, capsys, name, form):
    before = (run / name).read_bytes()
    (tmp_path / "link").symlink_to(run / name)
    for place in (run / name, tmp_path / "link"):
        error = error_of(["report", str(run), "--output", f"{form}={place}"], capsys)
        assert "is part of a run, and a report would replace it; give the report another name" in error
        assert len(error.splitlines()) == 1
    assert error_of(["scan", "digits-cnn", "--output", f"{form}={run / name}"], capsys).count("part of a run") == 1
    assert error_of(["diff", str(run), str(run), "--out", str(run / name)], capsys).count("part of a run") == 1
    assert (run / name).read_bytes() == before


def test_a_record_by_itself_is_written_again_but_by_nothing_else(run, tmp_path, capsys):
    alone = tmp_path / "record.json"
    for _ in range(2):
        assert main(["report", str(run), "--output", f"json={alone}"]) == 0
    assert "part of a run" in error_of(["report", str(run), "--output", f"html={alone}"], capsys)
    assert main(["report", str(run), "--output", f"html={run / 'report.html'}"]) == 0
