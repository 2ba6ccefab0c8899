"""`lsa-audit baseline` as a shell sees it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lsa_audit.__main__ import main
from lsa_audit.cli.output import RunFolder
from lsa_audit.progress import Silent
from lsa_audit.scanning.audit import audit, make_profile

SETTINGS = {
    "data": "digits",
    "slice": "0:60",
    "samples": None,
    "epsilon": [0.05],
    "attacks": ["fgsm"],
    "noises": [],
    "layers": "conv*",
    "neurons": "none",
    "probes": [],
    "threads": 1,
}


@pytest.fixture(scope="module")
def scanned(tmp_path_factory) -> Path:
    result = audit("digits-cnn", make_profile({"test": SETTINGS}), progress=Silent())
    folder = tmp_path_factory.mktemp("runs") / "run"
    return RunFolder.prepare(folder, "digits-cnn", "digits").write(result.record, result.evidence)


@pytest.fixture
def run(scanned, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(scanned, tmp_path / "run")


def update(*options: object) -> int:
    return main(["baseline", "update", *(str(option) for option in options)])


def skip_something(run: Path) -> None:
    content = json.loads((run / "record.json").read_text())
    content["skipped"].append({"what": "layer x", "reason": "lost", "detail": "It is gone."})
    (run / "record.json").write_text(json.dumps(content))


def history() -> list[str]:
    return [entry["reason"] for entry in json.loads(Path("base/baseline.json").read_text())["history"]]


def test_the_first_and_the_improved_are_taken(run, capsys):
    assert update(run, "--to", "base") == 0
    first = capsys.readouterr().out
    assert "robust accuracy at linf-0.05: 9" in first
    assert "wrote base/baseline.json" in first
    assert update(run, "--to", "base") == 0
    assert "%  -> " not in first
    assert " -> " in capsys.readouterr().out
    assert history() == ["first", "improved"]
    assert [path.name for path in Path("base").iterdir()] == ["baseline.json"]


def test_what_got_worse_needs_a_reason(run, capsys):
    assert update(run, "--to", "base") == 0
    before = Path("base/baseline.json").read_bytes()
    skip_something(run)
    capsys.readouterr()
    assert update(run, "--to", "base") == 2
    streams = capsys.readouterr()
    assert "layer x is newly skipped" in streams.err
    assert "--accept REASON" in streams.err
    assert streams.out == ""
    assert Path("base/baseline.json").read_bytes() == before
    assert update(run, "--to", "base", "--accept", " ") == 2
    assert update(run, "--to", "base", "--accept", "the layer\x1b[31m is new") == 0
    assert history() == ["first", "the layer\x1b[31m is new"]
    capsys.readouterr()
    assert main(["baseline", "show", "base"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "the layer\\x1b[31m is new" in shown
    assert "60 images" in shown
    assert "1 thing not measured" in shown


def test_single_images_are_kept_where_the_gates_look_at_them(run):
    Path("ci.yaml").write_text("gates: {'relative_error@conv*': [error, {max_rise: 0.1}]}\n")
    kept = {}
    for name, options in {"plain": (), "layers": ("--profile", "ci.yaml"), "strict": ("--preset", "strict")}.items():
        assert update(run, "--to", name, *options) == 0
        measured = json.loads(Path(name, "baseline.json").read_text())["snapshot"]["measured"]
        kept[name] = [entry["values"] is not None for entry in measured]
    assert kept == {"plain": [False], "layers": [True], "strict": [True]}
    assert main(["gate", "run", "--baseline", "layers", "--profile", "ci.yaml"]) in (0, 3)


def test_a_spoilt_baseline_is_not_replaced(run, capsys):
    Path("base").mkdir()
    Path("base/baseline.json").write_text("{}")
    assert update(run, "--to", "base", "--accept", "x") == 2
    assert Path("base/baseline.json").read_text() == "{}"
    assert main(["baseline", "show", "base"]) == 2
    assert main(["baseline", "show", "nothing"]) == 2
    assert [line[:18] for line in capsys.readouterr().err.splitlines()] == ["lsa-audit: error: "] * 3


def test_evidence_that_is_missing_is_named(run, capsys):
    (run / "evidence.npz").unlink()
    assert update(run, "--to", "base") == 2
    assert "holds no evidence.npz" in capsys.readouterr().err
    assert not Path("base").exists()
