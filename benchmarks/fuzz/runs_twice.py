"""The real command where it must write, or with surroundings, that nobody planned: odd places, runs over runs."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from numpy.random import Generator

from .case import QUICK, VERDICTS_ONLY, Case, pick
from .saved import run_folder

SCAN = ("scan", "digits-cnn", "--data", "digits", *QUICK, *VERDICTS_ONLY)
DEVICES = {"null": os.makedev(1, 3), "full": os.makedev(1, 7)}


def odd_places(draws: Generator, folder: Path, number: int) -> Case:
    """Results that shall go to files, links, devices, pipes, and folders that exist, are missing or are the run's."""
    _prepare(folder)
    place = pick(draws, PLACES)
    # The device `full` reads as zeros without an end: it is only written to.
    source = place if place != "full" else "null"
    calls = (
        ((*SCAN, "--out", place), False),
        ((*SCAN, "--out", place), False),
        ((*SCAN, "--out", "new", "--output", f"html={place}"), False),
        ((*SCAN, "--out", "run", "--output", f"sarif={place}", "--output", f"json={pick(draws, PLACES)}"), False),
        ((*SCAN, "--out", "new", "--gate", "--baseline", source), True),
        (("report", "run", "--output", f"html={place}"), False),
        (("report", "run", "--format", pick(draws, ("html", f"html={place}")), "--out", place), False),
        (("report", "run", "--output", f"junit={place}", "--output", "junit=-"), False),
        (("baseline", "update", "run", "--to", source), False),
        (("baseline", "update", "run", "--to", source), False),
        (("gate", "run", "--baseline", source), True),
        (("diff", "run", source), True),
        (("harden", "digits-cnn", *TRAINING, "--dry-run", "--out", place), False),
        (("harden", "digits-cnn", *TRAINING, "--resume", source), False),
        (("repair", "digits-cnn", "--record", source, "--samples", "3", "--attack", "fgsm", "--out", "new"), False),
        (("verify", source), True),
    )
    arguments, may_fail = pick(draws, calls)
    return Case(f"places {number} {' '.join(arguments[-4:])}"[:90], arguments, may_fail, command_only=True)


TRAINING = (
    "--data",
    "digits",
    "--samples",
    "40",
    "--epochs",
    "1",
    "--epsilon",
    "0.1",
    "--threads",
    "1",
    "--at",
    "fgsm",
)

PLACES = (
    "run",
    "run",
    "run/",
    "run/record.json",
    "run/deeper",
    "baseline",
    "baseline/baseline.json",
    "file",
    "file/below",
    "null",
    "full",
    "full/below",
    "pipe",
    "dangling",
    "loop",
    "link to run",
    "link to file",
    "read-only",
    "read-only/below",
    "missing/a/b",
    "missing/page.html",
    "",
    " ",
    ".",
    "..odd",
    "./a/../b",
    "-",
    "--",
    "a\nb",
    "\u732b.html",
    "x" * 255,
    "x" * 256,
    "y/" * 30 + "z",
    "~nobody-here/x",
    "$HOME",
    "%s",
    "a=b",
    "/proc/self/fd/1",
    "/proc/version",
    "/dev/null/x",
)
"""In the case's own folder, or where nothing can be made."""


def odd_surroundings(draws: Generator, folder: Path, number: int) -> Case:
    """The command with odd variables, an odd standard output, or a second time over its own results."""
    _prepare(folder)
    calls = (
        ((*SCAN, "--out", "new"), False),
        ((*SCAN, "--out", "run", "--save-adversarials"), False),
        ((*SCAN, "--output", "json=-", "--out", "new"), False),
        (("report", "run"), False),
        (("report", "run", "--format", "html"), False),
        (("gate", "run", "--baseline", "baseline"), True),
        (("diff", "run", "run"), True),
        (("verify", "run"), True),
        (("layers", "digits-cnn", "--json"), False),
        (("list", "attacks"), False),
        (("explain", "mvl"), False),
        (("doctor",), False),
        (("schema",), False),
        (("baseline", "show", "baseline"), False),
    )
    arguments, may_fail = pick(draws, calls)
    variables = dict(pick(draws, VARIABLES) for _ in range(int(draws.integers(0, 3))))
    output = pick(draws, ("", "", "", "/dev/full", "/dev/full", "here.txt"))
    shown = " ".join([*(f"{key}={value[:20]}" for key, value in variables.items()), f"> {output}" if output else ""])
    name = f"surroundings {number} {shown} {' '.join(arguments[:2])} {arguments[-1]}"
    return Case(
        name, arguments, may_fail, command_only=True, environment=tuple(variables.items()), standard_output=output
    )


VARIABLES = (
    ("HOME", "/proc/nowhere"),
    ("HOME", ""),
    ("HOME", "file"),
    ("TMPDIR", "/proc/nowhere"),
    ("TMPDIR", "file"),
    ("XDG_CACHE_HOME", "file"),
    ("XDG_CACHE_HOME", "full"),
    ("COLUMNS", "1"),
    ("COLUMNS", "0"),
    ("COLUMNS", "-5"),
    ("COLUMNS", "many"),
    ("COLUMNS", "100000"),
    ("LINES", "0"),
    ("TERM", "dumb"),
    ("TERM", "nosuch"),
    ("NO_COLOR", "1"),
    ("FORCE_COLOR", "1"),
    ("LC_ALL", "C"),
    ("LC_ALL", "nosuch"),
    ("PYTHONIOENCODING", "ascii"),
    ("PYTHONIOENCODING", "latin-1:strict"),
    ("PYTHONUTF8", "0"),
    ("PYTHONOPTIMIZE", "2"),
    ("PYTHONWARNINGS", "error"),
    ("PYTHONHASHSEED", "1"),
    ("OMP_NUM_THREADS", "many"),
    ("OMP_NUM_THREADS", "0"),
    ("CUDA_VISIBLE_DEVICES", "99"),
    ("TZ", "Nowhere/Land"),
    ("SOURCE_DATE_EPOCH", "never"),
    ("CI", "true"),
    ("GITHUB_ACTIONS", "true"),
    ("GITHUB_STEP_SUMMARY", "read-only/x"),
    ("GITHUB_OUTPUT", "full"),
    ("LSA_AUDIT_DEBUG", ""),
)


def _prepare(folder: Path) -> None:
    """A run, a baseline, and things of every kind under names that need no drawing."""
    shutil.copytree(run_folder() / "run", folder / "run")
    shutil.copytree(run_folder() / "baseline", folder / "baseline")
    (folder / "file").write_text("mine\n")
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to("nowhere/at/all")
    (folder / "loop").symlink_to("loop")
    (folder / "link to run").symlink_to("run", target_is_directory=True)
    (folder / "link to file").symlink_to("file")
    (folder / "read-only").mkdir()
    (folder / "read-only").chmod(0o555)
    for name, device in DEVICES.items():
        # Devices of the case's own: a tool that renames over its target must not take away the machine's.
        try:
            os.mknod(folder / name, 0o666 | stat.S_IFCHR, device)
        except (OSError, AttributeError):
            (folder / name).symlink_to("nowhere/either")
