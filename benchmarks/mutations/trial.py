"""One mutation in a copy of the project: its folder's tests, then the default ones, then the slow ones."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .sites import Mutation

COPIED = ("lsa_audit", "tests", "benchmarks", "profiles", "docs", "reports", ".github", ".ci")
SKIPPED = shutil.ignore_patterns("__pycache__", ".pytest_cache", "cells")
NEAR_LIMIT = 12
FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
SECONDS = {"near": 900.0, "folder": 1800.0, "default": 3600.0, "slow": 7200.0}
STAGES = tuple(SECONDS)


@dataclass(frozen=True)
class Verdict:
    """What the tests said: the stage that noticed (None: a survivor), the test, and the seconds that all took."""

    stage: str | None
    test: str
    seconds: float


@dataclass(frozen=True)
class Place:
    """A copy of the project that may be broken."""

    root: Path
    workers: int

    def try_out(self, mutation: Mutation, last: str) -> Verdict:
        """Run the stages up to `last` until one notices; the copy is whole again afterwards."""
        path = self.root / mutation.path
        whole = path.read_bytes()
        started, ignored = time.monotonic(), set[str]()
        for stage in STAGES[: STAGES.index(last) + 1]:
            while True:
                try:
                    path.write_bytes(mutation.applied(whole))
                    test = self._first_failure(stage, mutation.path, ignored)
                finally:
                    path.write_bytes(whole)
                if test is None:
                    break
                # A test that fails without the fault as well says nothing about it.
                if not test.startswith("tests/") or self._run([test], SECONDS["near"])[0] == 0:
                    return Verdict(stage, test, time.monotonic() - started)
                if test in ignored:
                    raise RuntimeError(f"{test} fails without any fault, and cannot be left out")
                ignored.add(test)
        return Verdict(None, "", time.monotonic() - started)

    def _first_failure(self, stage: str, path: str, ignored: set[str]) -> str | None:
        """The test that failed first, or what else went wrong; None where all passed."""
        chosen = selection(self.root, stage, path)
        if chosen is None:
            return None
        options = [f"{'--deselect' if '::' in test else '--ignore'}={test}" for test in sorted(ignored)]
        if stage in ("default", "slow"):
            options += ["-n", str(self.workers), "--dist", "worksteal"]
        code, output = self._run([*chosen, "-x", *options], SECONDS[stage])
        if code in (0, 5):
            return None
        if code is None:
            return "the time ran out"
        found = FAILED.search(output)
        return found[1] if found else f"pytest ended with {code}"

    def _run(self, arguments: list[str], seconds: float) -> tuple[int | None, str]:
        """Exit code (None: killed when the time was up) and output."""
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rfE", "--tb=no", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        with subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return None, process.communicate()[0]
        return process.returncode, output


@contextlib.contextmanager
def copied(project: Path, folder: Path, workers: int) -> Iterator[Place]:
    """A copy of the project in a new folder; the real data are read where they are."""
    os.environ.setdefault("LSA_AUDIT_SHARED", str(project.parent / "shared"))
    root = folder / "project"
    root.mkdir()
    for entry in COPIED:
        if (project / entry).is_dir():
            shutil.copytree(project / entry, root / entry, ignore=SKIPPED)
    for entry in project.iterdir():
        if entry.is_file() and entry.name != ".git":
            shutil.copy(entry, root)
    yield Place(root, workers)


def selection(root: Path, stage: str, path: str) -> list[str] | None:
    """What pytest is asked to run: the tests that name the mutated file, its folder's, all, the slow ones."""
    if stage == "default":
        return []
    if stage == "slow":
        return ["-m", "slow"]
    unit, *inner = Path(path).with_suffix("").parts[1:]
    if stage == "folder":
        if not inner:
            return ["tests", *(f"--ignore={entry.relative_to(root)}" for entry in sorted((root / "tests").glob("*/")))]
        return [f"tests/{unit}"] if (root / "tests" / unit).is_dir() else None
    near = _near(root, [unit, *inner])
    return near or None


def _near(root: Path, parts: list[str]) -> list[str]:
    """Test files that are named after the module or import it, the former first."""
    *package, stem = parts
    dotted = ".".join(["lsa_audit", *parts])
    above = re.escape(".".join(["lsa_audit", *package]))
    imported = re.compile(rf"\b{re.escape(dotted)}\b|from {above} import [^\n]*\b{re.escape(stem)}\b")
    files = sorted((root / "tests").rglob("test_*.py"))
    named = [entry for entry in files if entry.stem == f"test_{stem}" and (not package or package[0] in entry.parts)]
    named += [entry for entry in files if entry not in named and imported.search(entry.read_text(encoding="utf-8"))]
    return [entry.relative_to(root).as_posix() for entry in named[:NEAR_LIMIT]]
