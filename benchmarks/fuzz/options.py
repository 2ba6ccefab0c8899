"""Command lines with values that nobody would write, on every command."""

from __future__ import annotations

import functools
import inspect
import typing
from pathlib import Path
from typing import Any

from numpy.random import Generator

from .case import QUICK, VERDICTS_ONLY, Case, pick

VALUES = (
    "",
    " ",
    "0",
    "-1",
    "1",
    "nan",
    "inf",
    "1e400",
    "1/0",
    "8/255",
    "2/255,1/0",
    ",",
    "none",
    "all",
    "*",
    "[",
    "**",
    "x" * 5000,
    "\U0001f600",
    "\x1b[2J",
    "/dev/null/x",
    "/proc/self/mem",
    "/",
    ".",
    "..",
    "a:b",
    "sys:exit",
    "hf_hub:",
    "hf_hub:a/b/c",
    "timm/",
    "file.py:",
    ":",
    "3:1",
    "0:0",
    "9999999999999999999999",
    "-9" * 40,
    "html=/dev/null/x",
    "json=-",
    "nosuch=x",
    "=",
    "0.5,0.5,0.5",
    "1x8x8",
    "0x0x0",
)


@functools.cache
def _options(command: str) -> list[str]:
    """The options of a command, from its signature."""
    import lsa_audit.cli as cli

    function = getattr(cli, command).command
    hints = typing.get_type_hints(function, include_extras=True)
    return [f"--{name.replace('_', '-')}" for name in inspect.signature(function).parameters if name in hints][1:]


# What takes long, or writes where the case did not choose, stays out.
LEFT_OUT = {"--install-completion", "--threads", "--steps", "--queries", "--passes", "--epochs", "--data-root", "--out"}
ONE_ARGUMENT = ("scan", "layers", "gate", "report", "verify", "explain", "schema", "harden", "repair")


def odd_options(draws: Generator, _folder: Path, number: int) -> Case:
    """One to three options of a command with odd values."""
    command = pick(draws, ONE_ARGUMENT)
    arguments: list[str] = []
    for _ in range(int(draws.integers(1, 4))):
        option = pick(draws, [option for option in _options(command) if option not in LEFT_OUT] or ["--help"])
        arguments += [option, pick(draws, VALUES)]
    subject = "digits-cnn" if command in ("scan", "layers", "harden", "repair") else "run"
    bounded = _bounds(command, arguments)
    return Case(
        f"options {number} {command} {' '.join(arguments)}"[:90], (command, subject, *bounded, *arguments), True
    )


def _bounds(command: str, arguments: list[str]) -> list[str]:
    """Options that keep the call short, but for those that the case gives itself."""
    if command == "scan":
        quick = [*QUICK, *VERDICTS_ONLY, "--out", "run", "--data", "digits"]
        pairs = [quick[place : place + 2] for place in range(0, len(quick), 2)]
        return [part for pair in pairs if pair[0] not in arguments for part in pair]
    if command == "layers":
        return ["--threads", "1"]
    if command == "harden":
        return ["--epochs", "1", "--dry-run", "--data", "digits", "--epsilon", "0.1"]
    return []


def odd_subjects(draws: Generator, folder: Path, number: int) -> Case:
    """Models, data and runs of odd names, and odd things under their names."""
    (folder / "folder.onnx").mkdir()
    (folder / "empty.pt").touch()
    (folder / "loop.pth").symlink_to(folder / "loop.pth")
    (folder / "text.safetensors").write_text("version https://example.org/spec/v1\n")
    (folder / "broken.py").write_text(pick(draws, BROKEN))
    things: tuple[Any, ...] = (
        *VALUES,
        "folder.onnx",
        "empty.pt",
        "loop.pth",
        "text.safetensors",
        "broken.py:build",
        "broken.py:nothing",
        "os:getcwd",
        "builtins:exit",
        "resnet18:x",
        "digits-cn",
    )
    thing = pick(draws, things)
    calls: tuple[tuple[str, ...], ...] = (
        ("scan", thing, "--data", "digits", *QUICK, *VERDICTS_ONLY, "--out", "run"),
        ("scan", "digits-cnn", "--data", thing, *QUICK, *VERDICTS_ONLY, "--out", "run"),
        ("scan", "digits-cnn", "--checkpoint", thing, "--data", "digits", *QUICK, *VERDICTS_ONLY, "--out", "run"),
        ("layers", thing, "--threads", "1"),
        ("gate", thing),
        ("gate", thing, "--baseline", thing),
        ("report", thing),
        ("diff", thing, thing),
        ("verify", thing),
        ("baseline", "show", thing),
        ("explain", thing),
        ("list", thing),
    )
    # An argument that starts with a dash is an option; a NUL cannot stand in one at all.
    call = pick(draws, calls)
    return Case(f"subject {number} {' '.join(call)}"[:90], call, may_fail=True)


BROKEN = (
    "def build(:\n",
    "import no_such_module\n",
    "def build():\n    return 3\n",
    "def build():\n    raise SystemExit(5)\n",
    "def build():\n    raise KeyError\n",
    "import sys\nsys.exit(9)\n",
    "build = None\n",
    "def build(a):\n    return a\n",
    "def build():\n    return build()\n",
    "raise BaseException('x')\n",
)
