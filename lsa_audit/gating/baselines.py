"""Reads and writes baselines, which may come from strangers: data, bounded in size, and nothing in it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import DataError, OutputError, UnsafeError, UsageError
from ..records import AuditRecord
from ..records.snapshot import BASELINE_VERSION, SNAPSHOT_VERSION, Baseline, Snapshot
from ..runs.reading import RECORD_NAME, read_run
from ..writing import write_whole
from .snapshot import check, snapshot

BASELINE_NAME = "baseline.json"
BASELINE_BYTES = 64 * 2**20
WRITTEN_BY = "it must be a file that `lsa-audit baseline update` wrote"

Measures = Callable[[AuditRecord], Collection[str]]
"""From a record to the ids of the perturbations under which the layers' values on single images are kept."""


class _SnapshotVersion(BaseModel):
    model_config = ConfigDict(strict=True)

    snapshot_version: int


class _Versions(BaseModel):
    """The version fields alone, of a file of any version."""

    model_config = ConfigDict(strict=True)

    baseline_version: int
    snapshot: _SnapshotVersion


def is_baseline(path: Path) -> bool:
    """Whether a path can only be a baseline: a folder with `baseline.json`, or a file that is no record.

    Raises:
        DataError: it cannot be looked at.
    """
    try:
        return (path.is_file() and path.name != RECORD_NAME) or (path / BASELINE_NAME).is_file()
    except OSError as error:
        raise _unreadable(path, error) from None


def read_side(path: Path, measures: Measures) -> Snapshot:
    """What is compared of a run folder or its record, or the snapshot of a baseline.

    Raises:
        UsageError, DataError, UnsafeError: as `read_run` and `read_baseline`.
    """
    return read_baseline(path).snapshot if is_baseline(path) else of_run(path, *read_run(path), measures)


def of_run(path: Path, record: AuditRecord, evidence: Mapping[str, NDArray[Any]], measures: Measures) -> Snapshot:
    """What is compared of a run that has been read.

    Args:
        path: its folder or record, after which it is called, without the way to it.

    Raises:
        DataError: evidence that is not as a scan writes it.
    """
    folder = path.parent if path.name == RECORD_NAME else path
    # A name that is no UTF-8 cannot stand in JSON.
    name = os.fsencode(folder.resolve().name).decode(errors="replace")
    return snapshot(record, evidence, name or "run", measures(record))


def exists(folder: Path) -> bool:
    """Whether a folder holds a baseline, readable or not.

    Raises:
        DataError: it cannot be looked at.
    """
    try:
        return (folder / BASELINE_NAME).exists()
    except OSError as error:
        raise _unreadable(folder, error) from None


def read_baseline(path: Path) -> Baseline:
    """The content of a baseline file, or of the one in a folder.

    Raises:
        UsageError: there is none, or it has another version.
        DataError: it cannot be read, or is malformed.
        UnsafeError: it is above 64 MiB.
    """
    try:
        file = path / BASELINE_NAME if path.is_dir() else path
        if not file.is_file():
            raise UsageError(
                f"there is no baseline {file}", "write one with `lsa-audit baseline update RUN --to FOLDER`"
            )
        with file.open("rb") as stream:
            content = stream.read(BASELINE_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(content) > BASELINE_BYTES:
        raise UnsafeError(f"{file} is larger than {BASELINE_BYTES} bytes", "do not use it unless you know who made it")
    return _parsed(content, file.name)


def write_baseline(folder: Path, baseline: Baseline) -> tuple[Path, int]:
    """Write `baseline.json` whole into a folder, which is made where it is missing.

    Returns:
        The file, and its size in bytes.

    Raises:
        OutputError: it cannot be written, or would be too large to be read again.
    """
    content = baseline.model_dump_json(indent=1).encode() + b"\n"
    if len(content) > BASELINE_BYTES:
        hint = "scan fewer images, or leave limits on relative errors and lists of layers out of the gates"
        raise OutputError(f"the baseline would have {len(content):,} bytes, more than {BASELINE_BYTES:,}", hint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}", "name another folder with --to"
        ) from None
    write_whole(folder / BASELINE_NAME, content)
    return folder / BASELINE_NAME, len(content)


def _parsed(content: bytes, name: str) -> Baseline:
    try:
        found = _Versions.model_validate_json(content)
    except ValidationError as error:
        raise DataError(f"{name} is no baseline: {_first(error)}", WRITTEN_BY) from None
    versions = (found.baseline_version, found.snapshot.snapshot_version)
    if versions != (BASELINE_VERSION, SNAPSHOT_VERSION):
        said = f"{name} has baseline_version {versions[0]} and snapshot_version {versions[1]}"
        hint = "read it with the lsa-audit that wrote it, or write it again from a run"
        raise UsageError(f"{said}, this lsa-audit reads {BASELINE_VERSION} and {SNAPSHOT_VERSION}", hint)
    try:
        baseline = Baseline.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise DataError(f"{name} is malformed at {_first(error)}", WRITTEN_BY) from None
    check(baseline.snapshot)
    return baseline


def _first(error: ValidationError) -> str:
    """Where a file is wrong first, and how; nothing of its content but keys, which the entry point makes printable."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the top"
    return f"{place[:160]}: {first['msg'][:160]}"


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror or error}", "check the path")
