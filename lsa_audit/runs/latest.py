"""Finds the newest scan of a model among run folders. What lies in them may come from strangers: it is only read."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import AuditError
from ..records import AuditRecord
from .reading import RECORD_NAME, is_unfinished, read_run

RUNS = 50


def latest_run(folder: Path, subject: str) -> tuple[Path, AuditRecord] | None:
    """The newest run that scanned the model on data with a name; None where there is none.

    A run is of the model where it names it in the same way, or where its model file or checkpoint had the same bytes.
    A run that cannot be read is passed over.

    Args:
        folder: holds the run folders.
        subject: the model as the command line names it.

    Cost: reads the newest records, up to RUNS of them, and hashes a model file once.
    """
    digest = _digest(subject)
    for _, run in heapq.nlargest(RUNS, _runs(folder)):
        with suppress(AuditError):
            record, _ = read_run(run)
            files = (record.model.checkpoint_sha256, record.model.conversion and record.model.conversion.sha256)
            is_same = record.subject == subject or (digest is not None and digest in files)
            if is_same and isinstance(record.settings.get("data"), str):
                return run, record
    return None


def unfinished(folder: Path) -> list[Path]:
    """The run folders without a record: of scans that go on, or that never came to their end."""
    found = []
    for path in sorted(folder.glob("*/")):
        with suppress(OSError):
            if is_unfinished(path):
                found.append(path)
    return found


def _runs(folder: Path) -> Iterator[tuple[float, Path]]:
    """When each record was written, and its folder."""
    for path in folder.glob(f"*/{RECORD_NAME}"):
        with suppress(OSError):
            yield path.stat().st_mtime, path.parent


def _digest(subject: str) -> str | None:
    """SHA-256 of the file that the model is; None where it is none that can be read."""
    # A name may be none that the file system takes.
    with suppress(OSError, ValueError):
        if Path(subject).is_file():
            with Path(subject).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return None
