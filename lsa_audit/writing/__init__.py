"""The one place that writes files: whole or not at all; what is no file, a pipe or a device, is written to."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError
from .locking import LEFTOVER_PREFIX

STDOUT = 1
PATIENCE_S = 10.0
"""How long a named pipe is waited for that nobody reads."""

HINT = "free space or name another place"
DESCRIPTORS = ("/dev/fd", f"/proc/{os.getpid()}/fd", "/proc/self/fd", "/proc/thread-self/fd")
MOST_LINKS = 40


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a regular or new file so that it is seen complete or not at all; to a pipe or a device, write.

    A link is followed and stays: the file that it leads to is written. A file keeps its rights.

    Raises:
        OutputError: it cannot be written; a file that was there before is unchanged, and nothing else is left.
        BrokenPipeError: the reader of a pipe went away.
    """
    try:
        descriptor = descriptor_of(path)
        if descriptor is not None:
            _flush()
            _pour(descriptor, content)
            return
        mode = _mode(path)
        if mode is None or stat.S_ISREG(mode):
            _replace(Path(os.path.realpath(path)), content, mode)
        elif stat.S_ISDIR(mode) or stat.S_ISBLK(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a disk"
            raise OutputError(f"cannot write {path}: it is {what}", "name a file")
        else:
            _write_to(path, content, mode)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise OutputError(f"cannot write {path}: {reason}", HINT) from None


def descriptor_of(path: Path) -> int | None:
    """The open stream of this process that a path such as `/dev/stdout` or `/dev/fd/63` stands for.

    Such a path must not be opened again: where the stream goes to a file, that would begin at the file's start.

    Raises:
        OSError, ValueError: the path cannot be looked at.
    """
    for _ in range(MOST_LINKS):
        parent = os.path.realpath(path.parent)
        if path.name.isdecimal() and (parent in DESCRIPTORS or parent == f"/proc/{os.getpid()}/fd"):
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _mode(path: Path) -> int | None:
    """What a path leads to, links followed; None where there is nothing yet."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _replace(path: Path, content: bytes | memoryview, mode: int | None) -> None:
    handle, name = -1, ""
    try:
        handle, name = tempfile.mkstemp(prefix=f"{LEFTOVER_PREFIX}-", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files for their owner alone; a report has the rights of any other new file.
        Path(name).chmod(0o666 & ~_umask() if mode is None else stat.S_IMODE(mode))
        Path(name).replace(path)
    finally:
        if name:
            Path(name).unlink(missing_ok=True)


def _write_to(path: Path, content: bytes | memoryview, mode: int) -> None:
    _flush()
    descriptor = _opened_pipe(path) if stat.S_ISFIFO(mode) else os.open(path, os.O_WRONLY | os.O_NOCTTY)
    try:
        _pour(descriptor, content)
    finally:
        os.close(descriptor)


def _opened_pipe(path: Path) -> int:
    """A named pipe, open for writing once somebody reads it."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > until:
                raise OSError(errno.ENXIO, "nobody reads this pipe") from None
            time.sleep(0.05)
        else:
            os.set_blocking(descriptor, True)
            return descriptor


def _pour(descriptor: int, content: bytes | memoryview) -> None:
    rest = memoryview(content)
    while len(rest):
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


def _flush() -> None:
    """What was printed before comes first."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(ValueError):
                stream.flush()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
