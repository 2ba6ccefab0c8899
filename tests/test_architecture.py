"""The house: what stands at the top, what a room may bring in, and that public functions keep their names.

Which room may import which is a contract in pyproject.toml, held by `lint-imports` (`make lint`).
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import lsa_audit

PACKAGE = Path(lsa_audit.__file__).parent
ROOMS = {
    *("cli", "hardening", "repairing", "diffing", "gating", "scanning", "runs", "reporting", "findings"),
    *("measurements", "attacks", "graph", "models", "data", "page", "stats", "settings", "device", "records"),
    "explanations",
}
LEAVES = {"errors", "units", "progress", "writing"}
LIGHT = ("cli", "gating", "diffing", "reporting", "page", "stats", "settings", "records", "runs", "findings")

EVERY_FILE = """
import importlib, pkgutil, sys
for room in sys.argv[1:]:
    package = importlib.import_module(f"lsa_audit.{room}")
    for entry in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(entry.name)
        if "torch" in sys.modules:
            sys.exit(entry.name)
"""


def test_nothing_but_rooms_and_leaves_stands_at_the_top():
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert names == ROOMS | LEAVES | {"__init__", "__main__"}


def test_no_file_of_what_reads_saved_runs_brings_torch_in():
    result = subprocess.run([sys.executable, "-c", EVERY_FILE, *LIGHT], check=False, capture_output=True, text=True)
    assert result.stderr == ""


@pytest.mark.slow_except("lsa_audit", "lsa_audit.data")
@pytest.mark.parametrize("module", ["lsa_audit", "lsa_audit.attacks", "lsa_audit.data"])
def test_importing_leaves_torch_out(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_starts_without_what_only_work_needs():
    heavy = {"numpy", "scipy", "pydantic", "matplotlib", "yaml"}
    code = f"import sys, lsa_audit.cli; sys.exit(', '.join({heavy!r} & set(sys.modules)) or None)"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.stderr == ""


def test_public_functions_keep_their_names_when_every_file_was_imported():
    for entry in pkgutil.walk_packages([str(PACKAGE)], "lsa_audit."):
        if not entry.name.endswith("__main__"):
            importlib.import_module(entry.name)
    torch.manual_seed(0)
    network, images = nn.Linear(4, 3).eval(), torch.rand(8, 4)
    labels = network(images).argmax(1)
    settings = {"noises": (), "neurons": "none", "probes": (), "gallery": 0, "threads": 1, "attacks": ["fgsm"]}
    for name in sorted(set(lsa_audit.__all__) - {"__version__"}):
        function = getattr(lsa_audit, name)
        first, again = (function(network, (images, labels), epsilon=0.1, **settings) for _ in range(2))
        assert first.clean == again.clean


def test_files_stay_readable():
    long = {path.name: count for path in PACKAGE.rglob("*.py") if (count := len(path.read_text().splitlines())) > 330}
    assert long == {}
