"""`lsa-audit verify` as a shell sees it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import typer

from lsa_audit.cli.output import RunFolder
from lsa_audit.cli.verify import command
from lsa_audit.errors import AuditError, UnsafeError, UsageError
from lsa_audit.progress import Silent
from lsa_audit.scanning.audit import audit, make_profile

SETTINGS = {
    "data": "digits",
    "samples": 20,
    "epsilon": [0.1, 0.2],
    "attacks": ["fgsm", {"name": "pgd", "steps": 3}],
    "noises": [],
    "layers": "none",
    "neurons": "none",
    "threads": 1,
}
STORED = "adversarial/pgd@linf-0.2"
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(command)


def called(*arguments: object) -> int:
    return app(args=[str(argument) for argument in arguments], standalone_mode=False)


def scanned(folder, subject="digits-cnn", **changes):
    profile = make_profile({"test": {**SETTINGS, "save_adversarials": True, **changes}})
    result = audit(subject, profile, progress=Silent())
    return RunFolder.prepare(folder, subject, "digits").write(result.record, result.evidence)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    return scanned(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(fresh, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(fresh, tmp_path / "run")


def change_record(run, **changes):
    content = json.loads((run / "record.json").read_text())
    content["settings"] |= changes.pop("settings", {})
    (run / "record.json").write_text(json.dumps({**content, **changes}))


def change_evidence(run, name, change):
    with np.load(run / "evidence.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    change(arrays[name])
    np.savez_compressed(run / "evidence.npz", **arrays)


def test_a_fresh_run_is_verified(run, capsys):
    assert called(run) == 0
    streams = capsys.readouterr()
    lines = streams.out.splitlines()
    assert lines[0].split() == ["perturbation", "images", "agree", "rounding", "distance", "sha256"]
    assert lines[1].split()[2:5] == ["20", "20", "0"]
    assert lines[-2].split() == ["pgd@linf-0.2", "20", "20", "0", "0.2", "ok"]
    assert lines[-1] == "verified: 100 verdicts as recorded"
    assert max(map(len, lines)) <= 80
    assert streams.err == ""


def test_json_holds_all_of_it(run, capsys):
    assert called(run, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verified"] is True
    assert [entry["agree"] for entry in found["checks"]] == [20] * 5
    change_evidence(run, STORED, lambda images: images.fill(np.nan))
    assert called(run, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verified"] is False
    assert found["checks"][-1]["largest_distance"] is None


def test_one_changed_pixel_is_exit_code_1(run, capsys):
    def darker(images):
        images[3, 0, 2, 2] += 1e-3

    change_evidence(run, STORED, darker)
    assert called(run) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[5].endswith("differs")
    assert lines[6].startswith("not verified: ")
    assert "  pgd@linf-0.2: the sha256 of the stored images is not the recorded one" in lines


def test_many_images_are_cut(run, capsys):
    change_evidence(run, "right/pgd@linf-0.2", lambda right: np.logical_not(right, out=right))
    assert called(run) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "verdict is not" in line)
    assert "20 images: " in line
    assert line.endswith(" and 10 more")


def test_other_settings_on_the_command_line(run, capsys):
    assert called(run, "--model", "digits-cnn", "--data", "digits", "--device", "cpu", "--batch-size", 7) == 0
    capsys.readouterr()
    change_record(run, settings={"mean": [0.5], "std": [0.375]})
    assert called(run, "--threads", 1) == 1
    assert "  model: its mean is (0.5,), recorded is (0.304,)" in capsys.readouterr().out.splitlines()


FACTORY = """
from pathlib import Path
from torch import nn
Path("ran").touch()
def make():
    import torch
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


def test_code_runs_only_when_the_command_line_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(FACTORY)
    run = scanned(tmp_path / "run", "net.py:make")
    (tmp_path / "ran").unlink()
    with pytest.raises(UnsafeError, match=r"net\.py:make.*--model MODEL") as raised:
        called(run)
    assert raised.value.exit_code == 4
    assert not (tmp_path / "ran").exists()
    assert called(run, "--model", "net.py:make") == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"allow_code": True},
        {"trusted": ["0" * 64]},
        {"arch": "net.py:make"},
        {"model_args": {"cache_dir": "elsewhere"}},
    ],
)
def test_a_record_gives_no_permission(run, settings):
    change_record(run, settings=settings)
    with pytest.raises(UnsafeError):
        called(run)


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"samples": "many"}},
        {"settings": {"colour": 1}},
        {"settings": {"attacks": 5}},
        {"settings": {"arch": 5}},
        {"settings": {"data": None}},
        {"settings": {"batch_size": -1}},
        {"settings": {"data": "\x00"}},
        {"settings": {"data_root": 5}},
        {"settings": {"slice": "5:2"}},
        {"subject": None},
        {"subject": ""},
        {"subject": "no\x00where"},
        {"subject": "nowhere.onnx"},
        {"attacks": []},
        {"attacks": 5},
        {"schema_version": 99},
    ],
    ids=str,
)
def test_a_malformed_record_is_one_line(run, changes):
    change_record(run, **changes)
    with pytest.raises(AuditError) as raised:
        called(run)
    assert raised.value.exit_code in (2, 4)
    assert "\n" not in str(raised.value)


def test_a_run_without_stored_images_says_how_to_get_them(tmp_path):
    run = scanned(tmp_path / "run", save_adversarials=False)
    with pytest.raises(UsageError, match="scan with --save-adversarials"):
        called(run)


def test_malformed_evidence_is_unsafe(run):
    content = (run / "evidence.npz").read_bytes()
    (run / "evidence.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnsafeError) as raised:
        called(run)
    assert raised.value.exit_code == 4


def test_importing_leaves_torch_out():
    code = "import sys, lsa_audit.cli.verify; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
