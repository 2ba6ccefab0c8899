"""The folder of one command: it appears whole or not at all, written under another name first, then renamed."""

from __future__ import annotations

import io
import itertools
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError, UsageError
from ..progress.interrupts import deferred
from ..records import AuditRecord
from ..runs.reading import EVIDENCE_NAME, GATE_NAME, RECORD_NAME, RUN_NAMES
from ..writing import write_whole
from ..writing.locking import LEFTOVER_PREFIX, LOCK_NAME, locked, refuse_if_held

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..records.gating import Gating

LONGEST_SLUG = 80
"""Letters of the model's and of the data's name in the default folder's; file systems take 255."""


@dataclass(frozen=True)
class RunFolder:
    """Where the files of one command go; `is_default` where the command line names none."""

    path: Path
    is_default: bool = False

    @classmethod
    def prepare(cls, out: Path | None, model: str, what: str, may_replace: bool = True) -> RunFolder:
        """Settle and try the place before the work starts.

        Args:
            out: the folder, or None for `reports/MODEL-WHAT-TIME`.
            may_replace: whether an earlier run in the folder is replaced.

        Raises:
            UsageError: `out` holds something that may not be replaced, or another run writes to it.
            OutputError: it cannot be made or written.
        """
        path = _default_folder(model, what) if out is None else out
        try:
            if path.exists() and not path.is_dir():
                raise UsageError(f"{path} is a file", "name a folder with --out")
            if path.is_dir():
                refuse_if_held(path)
                _refuse_others(path, may_replace)
            path.parent.mkdir(parents=True, exist_ok=True)
            with _beside(path):
                pass
        except (OSError, ValueError) as error:
            raise _unwritable(path, error) from None
        return cls(path, is_default=out is None)

    @classmethod
    def begun(cls, path: Path, needed: str) -> RunFolder:
        """The folder of work that was cut, to go on in it.

        Args:
            needed: name of the file that must be there.

        Raises:
            UsageError: it is not, or another run writes to the folder.
            OutputError: nothing can be written there.
        """
        try:
            if not (path / needed).is_file():
                raise UsageError(f"{path} holds no {needed}", "name the folder of the training that was stopped")
            refuse_if_held(path)
            with _beside(path):
                pass
        except (OSError, ValueError) as error:
            raise _unwritable(path, error) from None
        return cls(path)

    @contextmanager
    def in_use(self) -> Iterator[RunFolder]:
        """The folder from now on, locked against other runs; a new one that stays empty goes away.

        Yields:
            The folder; of another name where another run has just taken the default one.

        Raises:
            UsageError: another run writes to it.
            OutputError: it cannot be made or written.
        """
        folder, is_new = self._made()
        try:
            with locked(folder.path):
                _sweep(folder.path)
                yield folder
        finally:
            if is_new:
                with suppress(OSError):
                    folder.path.rmdir()

    def _made(self) -> tuple[RunFolder, bool]:
        """The folder, made where it is missing, and whether it was."""
        for path in _numbered(self.path) if self.is_default else (self.path,):
            try:
                path.mkdir()
            except FileExistsError as error:
                if self.is_default:
                    continue
                if not path.is_dir():
                    raise _unwritable(path, error) from None
                return self, False
            except OSError as error:
                raise _unwritable(path, error) from None
            return RunFolder(path, self.is_default), True
        raise AssertionError("there is always another number")

    def write(self, record: AuditRecord, evidence: Mapping[str, NDArray[Any]], gating: Gating | None = None) -> Path:
        """Render and write a scan: `record.json` and `evidence.npz` are the run, the rest is rendered from the record.

        Args:
            gating: what the gates said of it; without it, what they said of an earlier run in the folder goes away.

        Returns, Raises: as `write_files`.
        """
        return self.write_files(run_files(record, evidence, gating), obsolete=() if gating else (GATE_NAME,))

    def write_files(self, files: Mapping[str, bytes], obsolete: Sequence[str] = ()) -> Path:
        """Write everything; a new folder appears in one step, an existing one gets its files one by one.

        Args:
            files: name -> content; a name may lie in one folder below. They are put in place in this order, so that the
                last one, by which the result is known, is there only with all others.
            obsolete: names of files of an earlier run that go away.

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
                self._put_in_place(fresh, files, obsolete)
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}", "free space or use --out"
            ) from None
        return self.path

    def _put_in_place(self, fresh: Path, files: Mapping[str, bytes], obsolete: Sequence[str]) -> None:
        if not self.path.exists():
            fresh.replace(self.path)
            return
        # Half of an old run and half of a new one must not look like a run, nor be what Ctrl-C leaves.
        with deferred():
            for name in (*list(files)[-1:], *obsolete):
                (self.path / name).unlink(missing_ok=True)
            for name in files:
                (self.path / name).parent.mkdir(exist_ok=True)
                (fresh / name).replace(self.path / name)


def run_files(
    record: AuditRecord, evidence: Mapping[str, NDArray[Any]], gating: Gating | None = None
) -> dict[str, bytes]:
    """The files of a scan, name -> content; the record, by which a run is known, comes last."""
    from ..reporting import FORMATS, RUN_FILES
    from ..reporting.gates_terminal import to_json
    from ..reporting.pictures import pictures
    from ..reporting.shown import Shown

    shown = Shown(record, gating, pictures(record, evidence))
    files: dict[str, bytes] = {EVIDENCE_NAME: _npz(evidence)}
    if gating is not None:
        files[GATE_NAME] = to_json(gating).encode()
    for name, render in (FORMATS[format_name] for format_name in RUN_FILES):
        files[name] = render(shown).encode()
    return dict(sorted(files.items(), key=lambda entry: entry[0] == RECORD_NAME))


def _refuse_others(path: Path, may_replace: bool) -> None:
    """Return where a folder holds nothing but what a run may replace, or what a killed one has left.

    Raises:
        UsageError: it holds other files.
    """
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(LEFTOVER_PREFIX)}
    # The lock of a dead process: whatever lies there, a run of this program was at work on it.
    is_unfinished = (path / LOCK_NAME).is_file()
    if not names or is_unfinished or (may_replace and (RECORD_NAME in names or names <= set(RUN_NAMES))):
        return
    others = " or that of an earlier run" if may_replace else ""
    raise UsageError(f"{path} holds other files", f"name an empty folder{others} with --out")


def _sweep(path: Path) -> None:
    """Remove the temporary names that a killed run has left; nobody else writes to the folder now."""
    for entry in path.iterdir():
        if not entry.name.startswith(f"{LEFTOVER_PREFIX}-"):
            continue
        with suppress(OSError):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _unwritable(path: Path, error: OSError | ValueError) -> OutputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return OutputError(f"cannot write to {path}: {reason}", "name another folder with --out")


def _beside(path: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder on the same file system: inside one that exists, which may be a mount, a link or the current folder."""
    return tempfile.TemporaryDirectory(prefix=f"{LEFTOVER_PREFIX}-", dir=path if path.is_dir() else path.parent)


def _default_folder(model: str, what: str) -> Path:
    """A folder that does not exist yet: two runs may start in the same second."""
    named = Path("reports") / f"{_slug(model)}-{_slug(what)}-{datetime.now():%Y%m%d-%H%M%S}"
    return next(path for path in _numbered(named) if not path.exists())


def _numbered(path: Path) -> Iterator[Path]:
    return itertools.chain([path], (path.with_name(f"{path.name}-{number}") for number in itertools.count(2)))


def _slug(text: str) -> str:
    stem = Path(text).name if "/" in text else text
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", stem.removesuffix(".npz")).strip("-.")
    return slug[:LONGEST_SLUG] or "run"


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
