from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from lsa_audit.cli.doctor import command
from lsa_audit.device import doctor
from lsa_audit.device.doctor import Diagnosis, examine


def found(section: str, name: str) -> Diagnosis:
    return next(check for check in examine() if (check.section, check.name) == (section, name))


def versions(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> None:
    """Make some distributions look installed in this version, or not at all; `_` stands for `-`."""
    real = metadata.version
    changed = {name.replace("_", "-"): version for name, version in changed.items()}

    def version(name: str) -> str:
        if (text := changed.get(name, "")) is None:
            raise metadata.PackageNotFoundError(name)
        return text or real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)


def test_this_machine_is_in_order() -> None:
    checks = examine()
    assert {check.section for check in checks} == {"packages", "devices", "onnxruntime", "caches"}
    assert not [check for check in checks if check.state == "problem"]
    names = {check.name for check in checks}
    assert {"Python", "torch", "torchvision", "timm", "onnx", "numpy", "safetensors"} <= names
    assert found("packages", "torch").value == metadata.version("torch")
    assert sum(check.section == "caches" for check in checks) == 3


def test_an_old_package_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, torch="2.9.1+cu128", timm="1.0.20")
    check = found("packages", "torch")
    assert check.state == "problem"
    assert check.value == "2.9.1+cu128 is too old"
    assert check.hint == "pip install 'torch>=2.10'"
    assert found("packages", "timm").state == "ok"


def test_a_missing_package_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, timm=None)
    check = found("packages", "timm")
    assert (check.state, check.value) == ("problem", "is not installed")


def test_a_package_that_cannot_be_imported_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.importlib.import_module

    def broken(name: str) -> object:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms\ndoes not exist")
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    check = found("packages", "torchvision")
    assert check.state == "problem"
    assert "cannot be imported: RuntimeError: operator torchvision::nms does not exist" in check.value


def test_two_runtimes_in_one_folder_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, onnxruntime="1.31.1", onnxruntime_gpu="1.31.1")
    assert found("onnxruntime", "packages").state == "problem"


def test_no_runtime_is_worth_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, onnxruntime=None, onnxruntime_gpu=None)
    check = found("onnxruntime", "onnxruntime")
    assert check.state == "note"
    assert check.hint == "pip install 'lsa-audit[onnx]'"


def test_caches_are_looked_at_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    check = doctor._folder("data", tmp_path / "a" / "b")
    assert check.value.startswith("~/a/b, ")
    assert check.value.endswith("GiB free, not made yet")
    assert not (tmp_path / "a").exists()
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert doctor._folder("data", tmp_path).state == "note"


def test_exit_code_and_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: (Diagnosis("packages", "torch", "2.15.0"),))
    assert command() == 0
    assert capsys.readouterr().out.split() == ["packages", "torch", "2.15.0"]
    broken = Diagnosis("devices", "[red]cuda[/red]", "gone", "problem", "mend it")
    monkeypatch.setattr(doctor, "examine", lambda: (broken,))
    assert command() == 2
    assert "[red]cuda[/red]  gone; mend it" in capsys.readouterr().out
    assert command(json=True) == 2
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry == {
        "section": "devices",
        "name": "[red]cuda[/red]",
        "value": "gone",
        "state": "problem",
        "hint": "mend it",
    }


def test_nothing_heavy_is_imported_before_it_is_called() -> None:
    code = "import sys, lsa_audit.cli.doctor, lsa_audit.device.doctor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
