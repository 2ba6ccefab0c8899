"""Entry of `lsa-audit` and of `python -m lsa_audit`: turns errors into one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback

import typer

from .errors import AuditError, ExitCode

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""Typer's base of usage errors; recent releases of Typer do not export it by name."""

REQUIRED = ("torch", "torchvision", "timm", "onnx")
"""Dependencies that only some commands need."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code; nothing is raised."""
    # Idle OpenMP threads that spin make torch many times slower beside another busy process. Read at torch's import.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from .cli import app

    try:
        code = app(args=arguments, standalone_mode=False)
    except AuditError as error:
        return _fail(str(error), error.exit_code)
    except USAGE_ERROR as error:
        return _fail(error.format_message(), ExitCode.USAGE)  # type: ignore[attr-defined]
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has closed it; a second failure at exit would print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except ModuleNotFoundError as error:
        if error.name not in REQUIRED:
            return _internal(error)
        hint = "install lsa-audit with its dependencies; saved runs are judged and rendered without it"
        return _fail(f"this command needs {error.name}, which is not installed; {hint}", ExitCode.USAGE)
    except Exception as error:  # noqa: BLE001 - whatever is left is a bug, and the contract gives it exit code 70
        return _internal(error)
    if code == ExitCode.INTERRUPTED:
        return _fail("interrupted; no report was written", ExitCode.INTERRUPTED)
    return int(code or ExitCode.OK)


def _internal(error: Exception) -> int:
    if os.environ.get("LSA_AUDIT_DEBUG"):
        traceback.print_exception(error)
    message = f"internal error: {type(error).__name__}: {error}; this is a bug: LSA_AUDIT_DEBUG=1 shows where"
    return _fail(message, ExitCode.INTERNAL)


def _fail(message: str, code: ExitCode) -> int:
    from .report.text import sentence

    # Names in it may come from a hostile file: no terminal sequence, no end in sight.
    print(f"lsa-audit: error: {sentence(message)}", file=sys.stderr)  # noqa: T201 - the one place that prints errors
    return int(code)


def run() -> None:
    """Console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
