"""Runs cases, in process or through the real command, and says what is wrong with how they ended."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from .case import Case

LIMIT_S = 90
CODES = {0, 2, 3, 4}
PREFIX = "lsa-audit: error: "


@dataclass(frozen=True)
class Ending:
    """How a case ended; `fault` is empty where it ended as it must."""

    case: Case
    code: int | None
    duration_s: float
    error: str
    fault: str


class Hang(BaseException):
    """The case took longer than LIMIT_S. Not an Exception, so that no handler of the tool takes it for an error."""


def in_process(case: Case, folder: Path) -> Ending:
    """The case through `lsa_audit.__main__.main`, in this process."""
    from lsa_audit.__main__ import main

    # As a shell's streams are: text over bytes.
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    began, code, raised = time.monotonic(), None, ""
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _alarm(), _torch():
        try:
            code = main(list(case.arguments))
        except Hang:
            raised = "hang"
        except BaseException as error:  # noqa: BLE001 - whatever leaves main is what fuzzing looks for
            raised = f"{type(error).__name__} left main"
    written, told = (_text(stream) for stream in (out, err))
    fault = raised or judged(case, code, written, told)
    return Ending(case, code, time.monotonic() - began, _last_line(told), fault)


def _text(stream: io.TextIOWrapper) -> str:
    assert isinstance(stream.buffer, io.BytesIO)  # noqa: S101 - narrows; made above
    return stream.buffer.getvalue().decode("utf-8", "replace")


def by_command(case: Case, folder: Path) -> Ending:
    """The case as a shell runs it."""
    began = time.monotonic()
    command = [sys.executable, "-m", "lsa_audit", *case.arguments]
    try:
        with _standard_output(case, folder) as out_to:
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out_to,
                stderr=subprocess.PIPE,
                check=False,
                timeout=LIMIT_S,
                env=_paths() | dict(case.environment),
            )
    except subprocess.TimeoutExpired:
        return Ending(case, None, time.monotonic() - began, "", "hang")
    except ValueError as error:
        # The operating system takes no NUL in an argument.
        return Ending(case, 2, 0.0, str(error), "")
    out, err = (text.decode("utf-8", "replace") for text in (done.stdout or b"", done.stderr))
    fault = judged(case, done.returncode, out, err)
    return Ending(case, done.returncode, time.monotonic() - began, _last_line(err), fault)


@contextlib.contextmanager
def _standard_output(case: Case, folder: Path) -> Iterator[int | BinaryIO]:
    """A pipe that is read, or the file that the case names."""
    if not case.standard_output:
        yield subprocess.PIPE
        return
    with (folder / case.standard_output).open("wb") as stream:
        yield stream


def judged(case: Case, code: int | None, out: str, err: str) -> str:
    """What is wrong with an ending, or nothing."""
    if code not in CODES and not (code == 1 and case.may_fail):
        return f"exit code {code}"
    if "Traceback (most recent call last)" in out + err:
        return "traceback"
    lines = [line for line in err.splitlines() if line.startswith(PREFIX)]
    if code in (2, 4) and len(lines) != 1:
        return f"{len(lines)} lines of error"
    if any(len(line) > 2000 for line in lines):
        return "an error of over 2,000 characters"
    if any(character < " " and character not in "\n\t\r" for line in lines for character in line):
        return "control characters in the error"
    return ""


def left_behind(folder: Path) -> str:
    """Half-written files of the tool."""
    return ", ".join(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.endswith((".tmp", ".part"))
    )


@contextlib.contextmanager
def _torch() -> Iterator[None]:
    """What a stranger's net.py turned on for the whole process does not reach the next case."""
    import torch

    where = Path.cwd()
    try:
        yield
    finally:
        os.chdir(where)
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)
        torch.autograd.set_detect_anomaly(False)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder for one case."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _paths() -> dict[str, str]:
    project = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": os.pathsep.join([project, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1][:160] if text.strip() else ""
