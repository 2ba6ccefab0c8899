"""Run folders, baselines and profiles that are damaged: what gate, report, diff, verify and scan read back."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml
from numpy.random import Generator

from lsa_audit.__main__ import main

from .case import NASTY, QUICK, Case, pick
from .damage import damaged, damaged_tree


@functools.cache
def run_folder() -> Path:
    """A sound run of the built-in model, with saved images, and a baseline made of it beside it."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-sound-"))
    options = [*QUICK, "--neurons", "conv1", "--probe", "none", "--save-adversarials", "--out", str(folder / "run")]
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        scanned = main(["scan", "digits-cnn", "--data", "digits", *options])
        updated = main(["baseline", "update", str(folder / "run"), "--to", str(folder / "baseline")])
    if scanned or updated:
        raise RuntimeError(f"the built-in model could not be scanned: {silent.getvalue()[-300:]}")
    return folder


COMMANDS: tuple[tuple[tuple[str, ...], bool], ...] = (
    (("report", "run"), False),
    (("report", "run", "--format", "sarif"), False),
    (("report", "run", "--format", "junit"), False),
    (("report", "run", "--format", "model-card"), False),
    (("report", "run", "--output", "html=page.html"), False),
    (("gate", "run"), True),
    (("gate", "run", "--baseline", "sound"), True),
    (("gate", "sound", "--baseline", "run"), True),
    (("diff", "sound", "run"), True),
    (("diff", "run", "sound"), True),
    (("verify", "run"), True),
    (("baseline", "update", "run", "--to", "new"), False),
)


def _case(draws: Generator, name: str) -> Case:
    arguments, may_fail = pick(draws, COMMANDS)
    return Case(f"{name} | {' '.join(arguments)}", arguments, may_fail)


def _copies(folder: Path) -> None:
    shutil.copytree(run_folder() / "run", folder / "run")
    shutil.copytree(run_folder() / "run", folder / "sound")


def damaged_record(draws: Generator, folder: Path, number: int) -> Case:
    """A record with other values in it."""
    _copies(folder)
    path = folder / "run" / "record.json"
    tree, how = damaged_tree(draws, json.loads(path.read_text()))
    path.write_text(json.dumps(tree))
    return _case(draws, f"record {number} {how}")


def damaged_run(draws: Generator, folder: Path, number: int) -> Case:
    """A run folder of which one file is damaged or missing."""
    _copies(folder)
    path = pick(draws, sorted((folder / "run").iterdir()))
    if draws.random() < 0.2:
        path.unlink()
        how = "removed"
    else:
        content, how = damaged(draws, path.read_bytes())
        path.write_bytes(content)
    return _case(draws, f"run {number} {path.name} {how}")


def damaged_baseline(draws: Generator, folder: Path, number: int) -> Case:
    """A baseline with other values or other bytes."""
    shutil.copytree(run_folder() / "run", folder / "sound")
    shutil.copytree(run_folder() / "baseline", folder / "baseline")
    path = pick(draws, sorted(path for path in (folder / "baseline").rglob("*") if path.is_file()))
    if path.suffix == ".json" and draws.random() < 0.7:
        tree, how = damaged_tree(draws, json.loads(path.read_text()))
        path.write_text(json.dumps(tree))
    else:
        content, how = damaged(draws, path.read_bytes())
        path.write_bytes(content)
    calls = (
        ("gate", "sound", "--baseline", "baseline"),
        ("baseline", "show", "baseline"),
        ("baseline", "update", "sound", "--to", "baseline"),
    )
    return Case(f"baseline {number} {how}", pick(draws, calls), may_fail=True)


def damaged_profile(draws: Generator, folder: Path, number: int) -> Case:
    """A profile with other keys and values, or broken YAML."""
    from lsa_audit.settings.profile import Profile, presets

    path = folder / "mine.yaml"
    text = presets()[pick(draws, list(presets()))].read_text()
    kind = pick(draws, ("tree", "bytes", "random"))
    if kind == "bytes":
        content, how = damaged(draws, text.encode())
        path.write_bytes(content)
    elif kind == "tree":
        tree, how = damaged_tree(draws, yaml.safe_load(text) or {})
        _write(path, tree)
    else:
        names = list(Profile.model_fields)
        tree = {pick(draws, names): pick(draws, NASTY) for _ in range(int(draws.integers(1, 6)))}
        how = ", ".join(tree)
        _write(path, tree)
    # What is not damaged must not make the scan long.
    quick = (*QUICK, "--neurons", "none", "--probe", "none", "--layers", "none", "--out", "run")
    return Case(f"profile {number} {how}", ("scan", "digits-cnn", "--data", "digits", "--profile", "mine.yaml", *quick))


def _write(path: Path, tree: Any) -> None:
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
