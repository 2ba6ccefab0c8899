"""Entry of `lsa-audit` and of `python -m lsa_audit`: turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path

from .errors import AuditError, ExitCode, UsageError, first_line
from .progress import interrupts

REQUIRED = ("torch", "torchvision", "timm", "onnx")
"""Dependencies that only some commands need."""

LONGEST_WORD = 160
LATEST_DATE = 253_402_300_799
"""The last second of the year 9999, in seconds since 1970."""
PACKAGE = Path(__file__).resolve().parent
LIBRARIES = frozenset({"site-packages", "dist-packages"})
"""Folders that hold other people's packages."""
ENDED = "interrupted; no report was written"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code; nothing is raised."""
    # Idle OpenMP threads that spin make torch many times slower beside another busy process. Read at torch's import.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Figures are files; Matplotlib would fail on a backend that is not there, after all the work.
    os.environ["MPLBACKEND"] = "agg"
    with interrupts.listening():
        try:
            code = _run(arguments)
        except BaseException as error:  # noqa: BLE001 - every end of a command has an exit code
            interrupts.mute()
            code = _code_of(error)
        # Whatever became of it on the way, a signal that was heard ends the program as such.
        heard = interrupts.received()
        if heard is not None and code not in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
            code = _interrupted(heard)
    return code


def _run(arguments: list[str] | None) -> int:
    from .cli import app, streams

    _check_date()
    code = app(args=arguments, standalone_mode=False)
    if code == ExitCode.INTERRUPTED:
        raise interrupts.received() or KeyboardInterrupt
    streams.flush()
    return int(code or ExitCode.OK)


def _check_date() -> None:
    """NumPy and Matplotlib read this at their import, and fail with words that tell nobody anything."""
    stated = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        fits = stated is None or 0 <= int(stated) <= LATEST_DATE
    except ValueError:
        fits = False
    if not fits:
        raise UsageError(f"SOURCE_DATE_EPOCH is {stated!r}, not a number of seconds", "set it to one, or unset it")


def _code_of(error: BaseException) -> int:
    """The exit code of what a command raised, and its line on stderr."""
    import typer

    # Typer's base of usage errors; recent releases of Typer do not export it by name.
    usage_error: type[Exception] = typer.BadParameter.__mro__[1]
    if isinstance(error, AuditError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, usage_error):
        return _fail(error.format_message(), ExitCode.USAGE)  # type: ignore[attr-defined]
    if isinstance(error, typer.Abort | KeyboardInterrupt):
        return _interrupted(interrupts.received() or type(error))
    if _is_broken_pipe(error):
        return _reader_gone()
    if isinstance(error, SystemExit) and not _is_of_a_command(error):
        # Typer ends the program itself after completing words for a shell.
        return error.code if isinstance(error.code, int) else int(ExitCode.OK)
    if isinstance(error, ModuleNotFoundError) and error.name in REQUIRED:
        hint = "install lsa-audit with its dependencies; saved runs are judged and rendered without it"
        return _fail(f"this command needs {error.name}, which is not installed; {hint}", ExitCode.USAGE)
    if isinstance(error, OSError):
        return _failed_system(error)
    if isinstance(error, MemoryError):
        return _fail("there is not enough memory; use fewer or smaller images, or --batch-size", ExitCode.USAGE)
    place = _place_in_users_code(error)
    if place or not isinstance(error, Exception):
        # Commands return their code; nothing but code of the user's ends a program by SystemExit and the like.
        return _fail(f"the code of the model raised {type(error).__name__}: {error}{place}; fix it", ExitCode.USAGE)
    if os.environ.get("LSA_AUDIT_DEBUG"):
        traceback.print_exception(error)
    library = _failed_library(error)
    if library:
        hint = "check its installation, and the environment variables that it reads"
        what = f"{library} cannot be imported ({type(error).__name__}: {first_line(error)[:LONGEST_WORD]})"
        return _fail(f"{what}; {hint}", ExitCode.USAGE)
    message = f"internal error: {type(error).__name__}: {error}; this is a bug: LSA_AUDIT_DEBUG=1 shows where"
    return _fail(message, ExitCode.INTERNAL)


def _is_of_a_command(error: BaseException) -> bool:
    """Whether an error came through this package, and not from the parser of the command line alone."""
    paths = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return any(PACKAGE in path.parents and path != Path(__file__).resolve() for path in paths)


def _place_in_users_code(error: BaseException) -> str:
    """Where the code that a factory came from raised an error, or called what did; empty where it did not."""
    factory = sys.modules.get("lsa_audit.models.factory")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if PACKAGE in path.parents:
            return ""
        is_library = not LIBRARIES.isdisjoint(path.parts)
        if factory is not None and not is_library and not factory.USERS.isdisjoint(path.parents):
            return f" at {path.name}:{frame.lineno}"
    return ""


def _failed_library(error: BaseException) -> str:
    """The library whose import from here raised an error; empty where something else did."""
    frames = traceback.extract_tb(error.__traceback__)
    own = max((place for place, frame in enumerate(frames) if PACKAGE in Path(frame.filename).parents), default=-1)
    entered = frames[own + 1 : own + 2]
    if not entered or entered[0].name != "<module>":
        return ""
    parts = Path(entered[0].filename).parts
    folder = next((place for place, part in enumerate(parts) if part in LIBRARIES), None)
    return "" if folder is None else Path(parts[folder + 1]).stem


def _interrupted(kind: type[BaseException]) -> int:
    if issubclass(kind, interrupts.Terminated):
        return _fail(ENDED.replace("interrupted", "terminated"), ExitCode.TERMINATED)
    return _fail(ENDED, ExitCode.INTERRUPTED)


def _is_broken_pipe(error: BaseException) -> bool:
    """Typer and rich turn a pipe that the reader closed into an end of the program with exit code 1."""
    return isinstance(error, BrokenPipeError) or (
        isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)
    )


def _reader_gone() -> int:
    from .cli import streams

    streams.give_up()
    return int(ExitCode.READER_GONE)


def _failed_system(error: OSError) -> int:
    """A file or a stream failed where no command expected it, such as a full disk under the standard output."""
    if os.environ.get("LSA_AUDIT_DEBUG"):
        traceback.print_exception(error)
    from .cli import streams

    streams.give_up()
    of_stream = error.filename is None and error.errno in (errno.ENOSPC, errno.EBADF, errno.EIO)
    place = "the standard output" if of_stream else str(error.filename or "a file")
    return _fail(f"cannot use {place}: {error.strerror or error}; free space or name another place", ExitCode.USAGE)


def _fail(message: str, code: ExitCode) -> int:
    from .cli import streams
    from .page.text import sentence, shorten

    # Names in it may come from a hostile file: no terminal sequence, no end in sight.
    line = sentence(" ".join(shorten(word, LONGEST_WORD) for word in message.split()))
    try:
        print(f"lsa-audit: error: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints errors
    except (OSError, ValueError):
        streams.give_up()
    return int(code)


def run() -> None:
    """Console script."""
    from .cli import streams

    streams.prepare()
    code = main()
    streams.give_up()
    sys.exit(code)


if __name__ == "__main__":
    run()
