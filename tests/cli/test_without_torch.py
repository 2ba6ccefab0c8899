"""What reads saved runs works where none of the large libraries can be imported."""

from __future__ import annotations

import json
import subprocess
import sys

from lsa_audit.reporting import FORMATS
from lsa_audit.reporting.diff import FORMATS as DIFF_FORMATS

from ..gating.builders import saved

# An entry of None in sys.modules would do for us, but scipy looks torch up there and takes what it finds.
EVERYTHING = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm", "onnx", "onnxruntime"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
from lsa_audit.__main__ import main

print(json.dumps([main(command) for command in json.loads(sys.argv[1])]), file=sys.stderr)
"""


def commands() -> dict[str, tuple[list[str], int]]:
    """Command lines and their exit codes; the two runs are the same."""
    reports = [part for name in FORMATS for part in ("--output", f"{name}=report-{name}")]
    found = {
        "update": (["baseline", "update", "a", "--to", "base", "--preset", "strict"], 0),
        "show": (["baseline", "show", "base"], 0),
        "gate": (["gate", "b", "--baseline", "base", "--preset", "strict", *reports], 0),
        "gate against a run": (["gate", "b", "--baseline", "a", "--json"], 0),
        "report": (["report", "a", *reports], 0),
        "explain": (["explain", "robust_accuracy"], 0),
        "list": (["list", "gates"], 0),
        "schema": (["schema", "profile"], 0),
        "scan": (["scan", "digits-cnn", "--data", "digits"], 2),
    }
    return found | {f"diff {name}": (["diff", "a", "b", "--format", name], 0) for name in DIFF_FORMATS}


def test_saved_runs_need_no_large_library(tmp_path):
    for name in "ab":
        saved(tmp_path / name)
    lines = [line for line, _ in commands().values()]
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING, json.dumps(lines)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    codes = json.loads(done.stderr.splitlines()[-1])
    assert dict(zip(commands(), codes, strict=True)) == {name: code for name, (_, code) in commands().items()}
    assert "internal error" not in done.stderr
    assert "this command needs torch, which is not installed" in done.stderr
    assert {f"report-{name}" for name in FORMATS} <= {path.name for path in tmp_path.iterdir()}
