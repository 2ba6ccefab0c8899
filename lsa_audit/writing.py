"""Files appear whole or not at all: everything is written under another name first, then renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import OutputError


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is seen complete or not at all.

    Raises:
        OutputError: it cannot be written; what was there before is unchanged, and nothing else is left.
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
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}", "free space or name another place"
        ) from None
    finally:
        if name:
            Path(name).unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
