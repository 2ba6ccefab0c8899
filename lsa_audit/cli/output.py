"""Files appear whole or not at all: everything is written under another name first, then renamed."""

from __future__ import annotations

import io
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError, UsageError
from ..records import AuditRecord
from ..runs import EVIDENCE_NAME, RECORD_NAME

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is seen complete or not at all.

    Raises:
        OutputError: it cannot be written; what was there before is unchanged.
    """
    handle, name = -1, ""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files for their owner alone; a report has the rights of any other new file.
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}", "free space or name another place"
        ) from None


@dataclass(frozen=True)
class RunFolder:
    """Where one run goes. `record.json` and `evidence.npz` are the run; the rest is rendered from the record."""

    path: Path

    @classmethod
    def prepare(cls, out: Path | None, model: str, data: str) -> RunFolder:
        """Settle and try the place before the work starts.

        Args:
            out: the folder, or None for `reports/MODEL-DATA-TIME`.

        Raises:
            UsageError: `out` holds something that is not an earlier run.
            OutputError: it cannot be made or written.
        """
        path = _default_folder(model, data) if out is None else out
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file", "name a folder with --out")
        if path.is_dir() and any(path.iterdir()) and not (path / RECORD_NAME).is_file():
            raise UsageError(f"{path} holds other files", "name an empty folder or that of an earlier run with --out")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".lsa-audit-", dir=path if path.is_dir() else path.parent):
                pass
        except OSError as error:
            raise OutputError(
                f"cannot write to {path}: {error.strerror or error}", "name another folder with --out"
            ) from None
        return cls(path)

    def write(self, record: AuditRecord, evidence: Mapping[str, NDArray[Any]]) -> Path:
        """Render and write everything; a new run folder appears in one step, that of an earlier run is replaced in one.

        Returns:
            The folder.

        Raises:
            OutputError: the disk is full or the folder went away; nothing is left behind.
        """
        from ..report import FORMATS

        files: dict[str, bytes] = {EVIDENCE_NAME: _npz(evidence)}
        for name, render in FORMATS.values():
            rendered = render(record)
            files[name] = rendered.encode() if isinstance(rendered, str) else rendered
        fresh = self.path.with_name(f".{self.path.name}.partial")
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            for name, content in files.items():
                write_whole(fresh / name, content)
            self._put_in_place(fresh, files)
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}", "free space or use --out"
            ) from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return self.path

    def _put_in_place(self, fresh: Path, files: Mapping[str, bytes]) -> None:
        if not self.path.exists() or not any(self.path.iterdir()):
            fresh.replace(self.path)
            return
        for name in sorted(files, key=lambda name: name == RECORD_NAME):
            (fresh / name).replace(self.path / name)


def _default_folder(model: str, data: str) -> Path:
    """A folder that does not exist yet: two runs may start in the same second."""
    named = Path("reports") / f"{_slug(model)}-{_slug(data)}-{datetime.now():%Y%m%d-%H%M%S}"
    candidates = itertools.chain([named], (named.with_name(f"{named.name}-{number}") for number in itertools.count(2)))
    return next(path for path in candidates if not path.exists())


def _slug(text: str) -> str:
    stem = Path(text).name if "/" in text else text
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem.removesuffix(".npz")).strip("-.") or "run"


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
