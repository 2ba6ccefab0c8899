"""The terminal: results on stdout, progress and messages on stderr, no animation without a terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

PLAIN_WIDTH = 80


class Console(RichConsole):
    """A console that writes 80 columns where there is no terminal to ask."""

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        super().__init__(stderr=stderr, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False)


class TerminalProgress:
    """A bar for the current stage; messages are printed above it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=self._console, transient=True, disable=not sys.stderr.isatty())
        self._task = self._progress.add_task("start", total=None)

    def __enter__(self) -> TerminalProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, name: str, total: int) -> None:
        """Show the next stage."""
        self._progress.reset(self._task, description=name, total=total or None)

    def advance(self, units: int) -> None:
        """Move the bar."""
        self._progress.advance(self._task, units)

    def message(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, soft_wrap=True, markup=False)
