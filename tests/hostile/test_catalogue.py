"""Hostile and broken files through the command line: the stated exit code, one line, and nothing else happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .catalogue import CASES, Case
from .checkpoints import CANARY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")

SECONDS = 30.0
MEMORY_BYTES = 2**30

Audit = Callable[[list[str], Path], dict[str, Any]]


@pytest.fixture(scope="session")
def audit() -> Iterator[Audit]:
    """audit(arguments, folder) -> what the server answers; the folder is the working one."""
    server = Path(__file__).with_name("server.py")
    package = Path(__file__).resolve().parents[2]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(package)}
    with subprocess.Popen(
        [sys.executable, str(server)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"

        def ask(arguments: list[str], folder: Path) -> dict[str, Any]:
            request = {"arguments": arguments, "folder": str(folder), "seconds": SECONDS}
            print(json.dumps(request), file=process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield ask
        process.stdin.close()


DEAR = {"TorchScript: LSTM with states of another batch", "TorchScript: deep lists", "onnx: many empty nodes"}
"""Seconds for one file: groups of a built-in batch, thousands of parts."""


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=pytest.mark.slow if name in DEAR else ()) for name, case in CASES.items()],
)
def test_a_file_ends_as_stated(audit: Audit, case: Case, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "models", tmp_path / "work"
    folder.mkdir()
    elsewhere.mkdir()
    path = case.make(folder)
    before = sorted(entry.name for entry in folder.iterdir())
    answer = audit(["layers", str(path), *case.options], elsewhere)
    assert answer["code"] == case.code, answer["err"]
    assert not (folder / CANARY).exists()
    assert sorted(entry.name for entry in folder.iterdir()) == before
    assert list(elsewhere.iterdir()) == []
    assert answer["peak_bytes"] < MEMORY_BYTES
    if case.code == 0:
        assert answer["out"]
        return
    assert answer["out"] == ""
    (line,) = answer["err"].splitlines()
    assert line.startswith("lsa-audit: error: ")
    assert "internal error" not in line
    assert all(letter.isprintable() for letter in line)
    assert len(line) < 2200
    for word in case.words:
        assert word in line


def test_the_catalogue_is_large_enough() -> None:
    assert sum(case.code != 0 for case in CASES.values()) >= 40
    assert {case.code for case in CASES.values()} == {0, 2, 4}


def test_the_server_measures(audit: Audit, tmp_path: Path) -> None:
    answer = audit(["layers", "digits-cnn"], tmp_path)
    assert answer["code"] == 0
    assert "conv1" in answer["out"]
    assert 10**8 < answer["peak_bytes"] < MEMORY_BYTES
