"""The standard streams as a shell may give them: closed, full, or of an encoding that lacks letters."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

DEGRADED = "lsa-audit-degraded"
"""Name of the error handler that replaces what an encoding lacks."""

STAND_INS = {
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-",
    "\N{BOX DRAWINGS HEAVY HORIZONTAL}": "-",
    "\N{BOX DRAWINGS LIGHT VERTICAL}": "|",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{LEFTWARDS ARROW}": "<-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{BULLET}": "*",
    "\N{MIDDLE DOT}": "*",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ",
}
STDOUT, STDERR = 1, 2


def prepare() -> None:
    """Make the standard streams safe to print to.

    A letter that the encoding lacks is replaced; a closed standard error swallows what is printed; a closed standard
    output fails when something is printed, and not with an AttributeError. No file that is opened later gets the
    number of a closed stream, where it would receive what others print.
    """
    codecs.register_error(DEGRADED, _degraded)
    for descriptor, flags in ((0, os.O_RDONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_WRONLY)):
        if _is_closed(descriptor):
            _fill(descriptor, flags)
    if sys.stdout is None:
        sys.stdout = _stream(STDOUT)
    if sys.stderr is None:
        sys.stderr = _stream(STDERR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=DEGRADED)


def flush() -> None:
    """Write out what was printed, so that a failure is seen here and not when the interpreter ends.

    Raises:
        OSError: it cannot be written.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def give_up() -> None:
    """Let nothing be printed any more: a second failure, when the interpreter ends, would print a traceback."""
    for stream, descriptor in ((sys.stdout, STDOUT), (sys.stderr, STDERR)):
        try:
            stream.flush()
        except (OSError, ValueError):
            _fill(descriptor, os.O_WRONLY)


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def _fill(descriptor: int, flags: int) -> None:
    """The null device under that number."""
    opened = os.open(os.devnull, flags)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)


def _stream(descriptor: int) -> TextIO:
    return io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), encoding="utf-8", line_buffering=True)


def _degraded(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    plain = (STAND_INS.get(letter) or letter.encode("ascii", "backslashreplace").decode("ascii") for letter in letters)
    return "".join(plain), error.end
