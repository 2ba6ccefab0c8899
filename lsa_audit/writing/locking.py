"""One run at a time in a folder: a lock file that names its process, and that a dead process does not hold."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import OutputError, UsageError

LOCK_NAME = ".lsa-audit.lock"
LEFTOVER_PREFIX = ".lsa-audit"
"""Of the lock and of every temporary name: what a killed run leaves behind, and nobody else writes."""

LOCK_BYTES = 4096
PROC = Path("/proc")


@dataclass(frozen=True)
class LockHolder:
    """The process that holds a lock.

    Attributes:
        host: its name; `machine` and `namespace` tell hosts of the same name, and containers, apart.
        process: its id there.
        started: when it started, in clock ticks since `boot`: ids are given again.
        since: when it took the lock.
    """

    host: str
    process: int
    since: str
    machine: str = ""
    namespace: str = ""
    boot: str = ""
    started: int | None = None

    @classmethod
    def this(cls) -> LockHolder:
        """The process that asks."""
        return cls(
            host=socket.gethostname(),
            process=os.getpid(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=_line(Path("/etc/machine-id")),
            namespace=_link(PROC / "self/ns/pid"),
            boot=_line(PROC / "sys/kernel/random/boot_id"),
            started=_started(os.getpid()),
        )

    @property
    def is_dead(self) -> bool:
        """Whether it surely is no more; never for a process that cannot be looked at from here."""
        here = LockHolder.this()
        if (self.host, self.machine) != (here.host, here.machine):
            return False
        if self.boot != here.boot:
            # Without an id of the machine another one of the same name may be meant.
            return bool(self.machine)
        if self.namespace != here.namespace:
            return False
        return not _is_alive(self.process) or self.started != _started(self.process)

    @property
    def is_here(self) -> bool:
        """Whether it runs where this process can see it."""
        here = LockHolder.this()
        same = ("host", "machine", "boot", "namespace")
        return all(getattr(self, name) == getattr(here, name) for name in same)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder is this process's inside; the lock goes away on leaving, whatever happens.

    Raises:
        UsageError: another process holds it, or may hold it on another host.
        OutputError: the lock cannot be written.
    """
    path = folder / LOCK_NAME
    own = LockHolder.this()
    try:
        with _alone(folder):
            refuse_if_held(folder)
            _place(path, own)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}", "name another folder") from None
    try:
        yield
    finally:
        with suppress(OSError):
            if _read(path) == own:
                path.unlink()


def refuse_if_held(folder: Path) -> None:
    """Return where nobody holds the folder; a lock of a dead process counts for nothing.

    Raises:
        UsageError: somebody holds it, or may hold it on another host; it says who, and what to do.
        OSError: the lock cannot be read.
    """
    path = folder / LOCK_NAME
    holder = _read(path)
    if holder is None and not os.path.lexists(path):
        return
    if holder is None:
        raise UsageError(f"{path} is no lock of a run", f"delete {path} if no run writes to {folder}")
    if holder.is_dead:
        return
    who = f"process {holder.process} on {holder.host} since {holder.since}"
    if holder.is_here:
        raise UsageError(f"{folder} is in use by {who}", "wait for it, or name another folder")
    hint = f"name another folder, or delete {path} if that run is no more"
    raise UsageError(f"{folder} is locked by {who}, which cannot be seen from here", hint)


def is_held(folder: Path) -> bool:
    """Whether a run may be writing to the folder now."""
    try:
        refuse_if_held(folder)
    except (UsageError, OSError):
        return True
    return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process of this host looks at or changes the folder's lock meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Not every file system can; between hosts the lock's own making decides.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _place(path: Path, holder: LockHolder) -> None:
    """The lock appears with its content, over that of a dead process but of nobody else."""
    descriptor, name = tempfile.mkstemp(prefix=f"{LEFTOVER_PREFIX}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(asdict(holder), stream)
        if os.path.lexists(path):
            Path(name).replace(path)
            return
        try:
            # Unlike a rename, a link fails where another host was faster.
            os.link(name, path)
        except FileExistsError:
            raise UsageError(f"{path.parent} was taken by another run", "name another folder") from None
        except OSError:
            Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _read(path: Path) -> LockHolder | None:
    """Who holds a lock; None where there is none, or it is none. It may come from anybody: data of a bounded size."""
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        content = stream.read(LOCK_BYTES)
    try:
        values: Any = json.loads(content)
        holder = LockHolder(**values)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (holder.host, holder.since, holder.machine, holder.namespace, holder.boot)
    right = all(isinstance(text, str) for text in texts) and type(holder.process) is int and holder.process > 0
    return holder if right and (holder.started is None or type(holder.started) is int) else None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _started(process: int) -> int | None:
    """Clock ticks from boot to the start of a process; None where that cannot be told, or it is a zombie."""
    try:
        stat = (PROC / str(process) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in brackets may hold anything; the fields behind it are numbers and one letter for the state.
    fields = stat.rpartition(")")[2].split()
    return None if len(fields) < 20 or fields[0] in "ZX" else int(fields[19])


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:128]
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
