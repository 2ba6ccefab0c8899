"""How long work tells that it goes on: on the terminal, to an object of the caller's, or not at all."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, cast

from rich.console import Console as RichConsole

from ..errors import UsageError
from . import interrupts

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PLAIN_WIDTH = 80
PLAIN_EVERY_S = 60.0
METHODS = ("stage", "advance", "message")


class Progress(Protocol):
    """What the pipeline calls; the terminal implements it."""

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` units begins; the one before has ended."""

    def advance(self, units: int) -> None:
        """Some units of the stage are done."""

    def message(self, text: str) -> None:
        """One line worth reading while the work goes on."""


class Silent:
    """Says nothing; an interrupt that was swallowed goes on all the same."""

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - as in Progress
        """Nothing."""
        interrupts.check()

    def advance(self, units: int) -> None:  # noqa: ARG002
        """Nothing."""
        interrupts.check()

    def message(self, text: str) -> None:  # noqa: ARG002
        """Nothing."""
        interrupts.check()


class Console(RichConsole):
    """A console that writes 80 columns where there is no terminal to ask."""

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        super().__init__(stderr=stderr, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False)

    def on_broken_pipe(self) -> None:
        """Rich would end the program with exit code 1, which means something else here."""
        raise


class TerminalProgress:
    """A bar for the current stage on stderr, messages above it; without a terminal, one plain line a minute."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = _bar(self._console)
        self._task = self._bar.add_task("start", total=None)
        self._stage, self._done, self._total = "start", 0, 0
        self._said = time.monotonic()

    def __enter__(self) -> TerminalProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stage(self, name: str, total: int) -> None:
        """Show the next stage."""
        interrupts.check()
        self._stage, self._done, self._total = name, 0, total
        self._bar.reset(self._task, description=name, total=total or None)

    def advance(self, units: int) -> None:
        """Move the bar."""
        interrupts.check()
        self._done += units
        self._bar.advance(self._task, units)
        if self._bar.disable and time.monotonic() - self._said >= PLAIN_EVERY_S:
            of_all = f" of {self._total:,}" if self._total else ""
            self._print(f"{self._stage}: {self._done:,}{of_all}")

    def message(self, text: str) -> None:
        """Print a line above the bar."""
        interrupts.check()
        self._print(text)

    def _print(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(text, soft_wrap=True, markup=False)


def _bar(console: Console) -> RichProgress:
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Bar(*columns, console=console, transient=True, disable=not sys.stderr.isatty())


def shown(progress: Progress | bool | None) -> AbstractContextManager[Progress]:
    """Where a call from Python tells its progress.

    Args:
        progress: True: the terminal; None or False: nowhere; or an object with the methods of `Progress`.

    Raises:
        UsageError: anything else.
    """
    if progress is True:
        return TerminalProgress()
    if progress is None or progress is False:
        return nullcontext(Silent())
    given: Any = progress
    if isinstance(given, type) or not all(callable(getattr(given, name, None)) for name in METHODS):
        hint = f"give True, False, or an object with the methods {', '.join(METHODS)}"
        raise UsageError(f"progress is {given!r}"[:200], hint)
    return nullcontext(cast(Progress, given))
