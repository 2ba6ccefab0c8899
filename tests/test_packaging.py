"""The wheel holds what the program reads at run time."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_wheel_ships_profiles_weights_and_templates(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        ".",
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"lsa_audit/_profiles/{path.name}" for path in (ROOT / "profiles").glob("*.yaml")}
    for pattern in ("report/templates/*", "models/weights/*.safetensors", "explanations/*/*.md"):
        wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "lsa_audit").glob(pattern)}
    assert len(wanted) >= 8
    assert wanted <= names
    assert not any(name.startswith("tests/") for name in names)
