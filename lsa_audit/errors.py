"""The error tree and the exit codes. Every error is one line: what is wrong, where, and what to do next."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says to the shell; the meanings are a contract (README, "Exit codes")."""

    OK = 0
    GATE_FAILED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    UNSAFE = 4
    INTERNAL = 70
    INTERRUPTED = 130
    READER_GONE = 141
    TERMINATED = 143


def first_line(error: BaseException) -> str:
    """What an error of somebody else's code says, its first line."""
    return (str(error).strip().splitlines() or ["no message"])[0]


class AuditError(Exception):
    """Base of every error that the tool raises on purpose.

    Args:
        what: what is wrong and where, without a full stop at the end.
        hint: what to do next, or empty.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, what: str, hint: str = "") -> None:
        self.what = " ".join(what.split())
        self.hint = " ".join(hint.split())
        super().__init__(f"{self.what}; {self.hint}" if self.hint else self.what)


class UsageError(AuditError):
    """A wrong option, argument or combination of them."""

    exit_code = ExitCode.USAGE


class ProfileError(AuditError):
    """A profile with unknown keys, wrong types or bad ranges; lists every mistake at once."""

    exit_code = ExitCode.USAGE


class DataError(AuditError):
    """Images or labels that are missing, empty, malformed or out of range."""

    exit_code = ExitCode.USAGE


class ModelError(AuditError):
    """A model that cannot be found, built, loaded or run."""

    exit_code = ExitCode.USAGE


class OutputError(AuditError):
    """A report that cannot be written."""

    exit_code = ExitCode.USAGE


class UnsafeError(AuditError):
    """A file that carries code, or is oversized or malformed, and was refused before anything of it ran."""

    exit_code = ExitCode.UNSAFE
