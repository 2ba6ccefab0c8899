"""Reads a run folder back. Records and evidence may come from strangers: they are data, and nothing in them is run."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ..errors import AuditError, DataError, UnsafeError, UsageError
from ..records import AuditRecord
from ..records.gating import GATING_VERSION, Gating
from ..reporting.json import read as read_record
from ..settings.limits import GIB, Limits
from ..units import PIXEL_LEVELS
from ..writing.locking import LOCK_NAME, is_held

RECORD_NAME = "record.json"
EVIDENCE_NAME = "evidence.npz"
GATE_NAME = "gate.json"
RUN_NAMES = (EVIDENCE_NAME, GATE_NAME, "report.md", "report.html", RECORD_NAME)
"""What a scan writes; the record, without which a folder is an unfinished run, comes last."""

RECORD_BYTES = GIB // 4
# Arrays are unpacked one at a time; flags that all agree are packed about a thousandfold, the most that deflate can do.
EVIDENCE_LIMITS = Limits(total_bytes=256 * GIB, member_bytes=8 * GIB, compression_ratio=1100.0)

SUFFIX = ".npy"
DAMAGED_HINT = "copy the run again, or scan again"
UNSAFE_HINT = "do not use the run unless you know who made it"


class Evidence(Mapping[str, NDArray[Any]]):
    """The arrays of an `evidence.npz` by name; each is read when it is asked for, into memory of its own.

    Raises, on making one and on reading an array:
        UnsafeError: a malformed archive, one above the limits, or an array that holds anything but numbers or text.
    """

    def __init__(self, path: Path, limits: Limits = EVIDENCE_LIMITS) -> None:
        self._path = path
        self._members = {info.filename.removesuffix(SUFFIX): info for info in _members(path, limits)}

    def __getitem__(self, name: str) -> NDArray[Any]:
        info = self._members[name]
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(info) as member:
                content = member.read(info.file_size)
        except Exception as error:
            # A hostile archive makes zipfile fail in many ways.
            raise _damaged(self._path, f"{info.filename} cannot be unpacked") from error
        if len(content) != info.file_size:
            raise _damaged(self._path, f"{info.filename} does not unpack to the stated {info.file_size} bytes")
        return _array(content, f"{self._path.name}: {info.filename}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def read_run(folder: Path) -> tuple[AuditRecord, Evidence]:
    """The record and the per-image arrays of a run.

    Args:
        folder: the run's, or its `record.json`.

    Raises:
        UsageError: no run folder, or a record of another version or kind.
        DataError: a file that cannot be read.
        UnsafeError: a file above the limits, or malformed evidence.
    """
    record, evidence = read_record_of(folder), read_evidence(folder)
    if evidence is None:
        raise _incomplete(folder, EVIDENCE_NAME)
    return record, evidence


def read_record_of(folder: Path) -> AuditRecord:
    """The record of a run alone, which is all that most reports need.

    Args, Raises: as `read_run`.
    """
    path = _folder(folder) / RECORD_NAME
    try:
        if not path.is_file():
            raise _incomplete(folder, RECORD_NAME)
        return _consistent(read_record(_content(path)))
    except OSError as error:
        raise _unreadable(path, error) from None


def _consistent(record: AuditRecord) -> AuditRecord:
    """The same; reports rely on what the types alone do not say."""
    epsilons = [result.perturbation.epsilon for result in record.attacks]
    epsilons += [epsilon for sweep in record.sweeps for epsilon in sweep.epsilons]
    if wrong := [epsilon for epsilon in epsilons if not 0 <= epsilon * PIXEL_LEVELS < math.inf]:
        raise DataError(f"{RECORD_NAME}: epsilon {wrong[0]} is not a distance", DAMAGED_HINT)
    if any(len(sweep.epsilons) != len(sweep.first_fooled) for sweep in record.sweeps):
        raise DataError(f"{RECORD_NAME} has a sweep without a count for each epsilon", DAMAGED_HINT)
    return record


def read_evidence(folder: Path) -> Evidence | None:
    """The per-image arrays of a run; None where its record was kept alone.

    Args, Raises: as `read_run`.
    """
    path = _folder(folder) / EVIDENCE_NAME
    try:
        return Evidence(path) if path.is_file() else None
    except OSError as error:
        raise _unreadable(path, error) from None


def read_gating(folder: Path) -> Gating | None:
    """What the gates said of a run when it was scanned; None where they were not asked.

    Args:
        folder: the run's, or its `record.json`.

    Raises:
        UsageError: a `gate.json` of another version.
        DataError: one that cannot be read, or is malformed.
        UnsafeError: one above the limits.
    """
    path = _folder(folder) / GATE_NAME
    try:
        if not path.is_file():
            return None
        content = _content(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        gating = Gating.model_validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the top"
        raise DataError(f"{GATE_NAME} is malformed at {place[:160]}: {first['msg'][:160]}", DAMAGED_HINT) from None
    if gating.gating_version != GATING_VERSION:
        said = f"{GATE_NAME} has gating_version {gating.gating_version}, this lsa-audit reads {GATING_VERSION}"
        raise UsageError(said, "judge the run again with `lsa-audit gate`")
    return gating


def _folder(path: Path) -> Path:
    return path.parent if path.name == RECORD_NAME else path


def is_unfinished(folder: Path) -> bool:
    """Whether a folder is a run that has not come to its end, or never will: without a record, but with files of one.

    Raises:
        OSError: it cannot be looked at.
    """
    others = (LOCK_NAME, *RUN_NAMES[:-1])
    return not (folder / RECORD_NAME).exists() and any((folder / name).exists() for name in others)


def _incomplete(folder: Path, missing: str) -> UsageError:
    run = _folder(folder)
    if missing == RECORD_NAME and is_unfinished(run):
        hint = "wait for the scan that writes it" if (run / LOCK_NAME).exists() and is_held(run) else "scan again"
        return UsageError(f"{run} is an unfinished run: it holds no {RECORD_NAME} yet", hint)
    return UsageError(f"{_folder(folder)} is no run: it holds no {missing}", "name the folder that a scan wrote")


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(RECORD_BYTES + 1)
    if len(content) > RECORD_BYTES:
        raise UnsafeError(f"{path.name} is larger than {RECORD_BYTES} bytes", UNSAFE_HINT)
    return content


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror or error}", "check the path")


def stored(evidence: Mapping[str, NDArray[Any]], name: str, kinds: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of the evidence, of that shape and of one of those kinds of type.

    Raises:
        DataError: there is none, or another one.
    """
    if name not in evidence:
        raise DataError(f"{EVIDENCE_NAME} holds no {name}", DAMAGED_HINT)
    array = evidence[name]
    if array.dtype.kind not in kinds or array.shape != tuple(shape):
        raise DataError(
            f"{EVIDENCE_NAME}: {name} is {array.dtype} {array.shape}, not as a scan writes it", DAMAGED_HINT
        )
    return array


def to_reload(record: AuditRecord, model: str | None, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The spec of the model and the raw settings that load a run's model and data again.

    Whatever runs or steers code counts only where the command line says it: a factory, a download from somebody's
    repository, arguments, permissions. Limits on model files count only for a model that the command line names.

    Args:
        model: from the command line; None: the record's.
        given: other settings from the command line; the caller puts them before the ones that are returned.

    Raises:
        UsageError: the record names no model.
        UnsafeError: the record alone would decide what code runs.
    """
    subject = record.subject if model is None else model
    if subject is None:
        raise UsageError("the run audited a module in memory", "name the model with --model MODEL")
    settings = dict(record.settings)
    if model is None:
        _refuse_code(subject, settings, given)
        settings.pop("limits", None)
    for name, option in (("arch", "--arch"), ("model_args", "--model-arg")):
        value = settings.get(name)
        if name not in given and (value if name == "model_args" else ":" in str(value)):
            raise UnsafeError(f"the record alone gives {name} {value}, which steers code", f"repeat it with {option}")
    settings |= {"allow_code": False, "trusted": [], "threads": None}
    if settings.get("data_root") is not None:
        # A folder that the record names is read, never downloaded into.
        settings["offline"] = True
    return subject, settings


def _refuse_code(subject: str, settings: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    why = ""
    if ":" in subject:
        why = f"the record names {subject}, code or a repository of somebody's"
    elif settings.get("allow_code") or settings.get("trusted"):
        why = "the record lets code of the model file run"
    elif given.get("allow_code"):
        why = f"the record alone names {subject}, whose code would run"
    if why:
        raise UnsafeError(why, "if you trust it, repeat it: --model MODEL and, where needed, --allow-code")


def _members(path: Path, limits: Limits) -> list[zipfile.ZipInfo]:
    if path.stat().st_size > limits.total_bytes:
        raise _above(path, f"more than {limits.total_bytes} bytes")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except OSError:
        raise
    except Exception as error:
        raise _damaged(path, "the list of its members cannot be read") from error
    if len(members) > limits.members or sum(info.file_size for info in members) > limits.total_bytes:
        raise _above(path, f"more than {limits.members} members, or {limits.total_bytes} bytes unpacked")
    names = {info.filename for info in members}
    if len(names) != len(members):
        raise _damaged(path, "two members have the same name")
    for info in members:
        if not info.filename.endswith(SUFFIX) or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _damaged(path, f"{info.filename} is not what a scan writes")
        if info.file_size > min(limits.member_bytes, limits.compression_ratio * max(info.compress_size, 1)):
            raise _above(path, f"{info.filename} unpacks to {info.file_size} bytes")
    return members


def _array(content: bytes, where: str) -> NDArray[Any]:
    """An array of numbers or text from an .npy file, whose header must account for every byte."""
    stream = io.BytesIO(content)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, by_columns, dtype = headers[np.lib.format.read_magic(stream)](stream)
    except Exception as error:
        # The header is a Python literal: the parsers of numpy and Python fail on it in many ways.
        raise UnsafeError(f"{where} is no array", DAMAGED_HINT) from error
    if dtype.kind not in "biufU" or dtype.itemsize == 0:
        raise UnsafeError(f"{where} holds something else than numbers or text", UNSAFE_HINT)
    start = stream.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content) - start:
        raise UnsafeError(f"{where} is shorter or longer than its header says", DAMAGED_HINT)
    values = bytearray(memoryview(content)[start:])
    return np.ndarray(shape, dtype, buffer=values, order="F" if by_columns else "C")


def _damaged(path: Path, why: str) -> AuditError:
    return UnsafeError(f"{path.name} is truncated or malformed: {why}", DAMAGED_HINT)


def _above(path: Path, what: str) -> AuditError:
    return UnsafeError(f"{path.name} is above the limits: {what}", UNSAFE_HINT)
