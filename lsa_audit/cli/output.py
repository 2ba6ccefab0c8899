"""The folder of one command: it appears whole or not at all, written under another name first, then renamed."""

from __future__ import annotations

import io
import itertools
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError, UsageError
from ..records import AuditRecord
from ..runs import EVIDENCE_NAME, GATE_NAME, RECORD_NAME
from ..writing import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..records.gating import Gating


@dataclass(frozen=True)
class RunFolder:
    """Where the files of one command go."""

    path: Path

    @classmethod
    def prepare(cls, out: Path | None, model: str, what: str, may_replace: bool = True) -> RunFolder:
        """Settle and try the place before the work starts.

        Args:
            out: the folder, or None for `reports/MODEL-WHAT-TIME`.
            may_replace: whether an earlier run in the folder is replaced.

        Raises:
            UsageError: `out` holds something that may not be replaced.
            OutputError: it cannot be made or written.
        """
        path = _default_folder(model, what) if out is None else out
        try:
            if path.exists() and not path.is_dir():
                raise UsageError(f"{path} is a file", "name a folder with --out")
            if path.is_dir() and any(path.iterdir()) and not (may_replace and (path / RECORD_NAME).is_file()):
                others = " or that of an earlier run" if may_replace else ""
                raise UsageError(f"{path} holds other files", f"name an empty folder{others} with --out")
            path.parent.mkdir(parents=True, exist_ok=True)
            with _beside(path):
                pass
        except OSError as error:
            raise _unwritable(path, error) from None
        return cls(path)

    @classmethod
    def begun(cls, path: Path, needed: str) -> RunFolder:
        """The folder of work that was cut, to go on in it.

        Args:
            needed: name of the file that must be there.

        Raises:
            UsageError: it is not.
            OutputError: nothing can be written there.
        """
        try:
            if not (path / needed).is_file():
                raise UsageError(f"{path} holds no {needed}", "name the folder of the training that was stopped")
            with _beside(path):
                pass
        except OSError as error:
            raise _unwritable(path, error) from None
        return cls(path)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The folder from now on, for work that leaves files in it as it goes; a new one that stays empty goes away.

        Raises:
            OutputError: it cannot be made.
        """
        is_new = not self.path.exists()
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        try:
            yield
        finally:
            if is_new:
                with suppress(OSError):
                    self.path.rmdir()

    def write(self, record: AuditRecord, evidence: Mapping[str, NDArray[Any]], gating: Gating | None = None) -> Path:
        """Render and write a scan: `record.json` and `evidence.npz` are the run, the rest is rendered from the record.

        Args:
            gating: what the gates said of it; without it, what they said of an earlier run in the folder goes away.

        Returns, Raises: as `write_files`.
        """
        written = self.write_files(run_files(record, evidence, gating))
        if gating is None:
            with suppress(FileNotFoundError):
                (written / GATE_NAME).unlink()
        return written

    def write_files(self, files: Mapping[str, bytes]) -> Path:
        """Write everything; a new folder appears in one step, an existing one gets its files one by one.

        Args:
            files: name -> content; a name may lie in one folder below. They are put in place in this order.

        Returns:
            The folder.

        Raises:
            OutputError: the disk is full or the folder went away; nothing is left behind.
        """
        try:
            with _beside(self.path) as holder:
                fresh = Path(holder) / "run"
                fresh.mkdir()
                for name, content in files.items():
                    (fresh / name).parent.mkdir(exist_ok=True)
                    write_whole(fresh / name, content)
                self._put_in_place(fresh, files)
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}", "free space or use --out"
            ) from None
        return self.path

    def _put_in_place(self, fresh: Path, files: Mapping[str, bytes]) -> None:
        if not self.path.exists():
            fresh.replace(self.path)
            return
        for name in files:
            (self.path / name).parent.mkdir(exist_ok=True)
            (fresh / name).replace(self.path / name)


def run_files(
    record: AuditRecord, evidence: Mapping[str, NDArray[Any]], gating: Gating | None = None
) -> dict[str, bytes]:
    """The files of a scan, name -> content; the record, by which a run is known, comes last."""
    from ..report import FORMATS, RUN_FILES
    from ..report.gates_terminal import to_json
    from ..report.pictures import pictures
    from ..report.shown import Shown

    shown = Shown(record, gating, pictures(record, evidence))
    files: dict[str, bytes] = {EVIDENCE_NAME: _npz(evidence)}
    if gating is not None:
        files[GATE_NAME] = to_json(gating).encode()
    for name, render in (FORMATS[format_name] for format_name in RUN_FILES):
        files[name] = render(shown).encode()
    return dict(sorted(files.items(), key=lambda entry: entry[0] == RECORD_NAME))


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write to {path}: {error.strerror or error}", "name another folder with --out")


def _beside(path: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder on the same file system: inside one that exists, which may be a mount, a link or the current folder."""
    return tempfile.TemporaryDirectory(prefix=".lsa-audit-", dir=path if path.is_dir() else path.parent)


def _default_folder(model: str, what: str) -> Path:
    """A folder that does not exist yet: two runs may start in the same second."""
    named = Path("reports") / f"{_slug(model)}-{_slug(what)}-{datetime.now():%Y%m%d-%H%M%S}"
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
