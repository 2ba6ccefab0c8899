"""How long work tells that it goes on; silent unless somebody listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What the pipeline calls; the terminal implements it."""

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` units begins; the one before has ended."""

    def advance(self, units: int) -> None:
        """Some units of the stage are done."""

    def message(self, text: str) -> None:
        """One line worth reading while the work goes on."""


class Silent:
    """Says nothing."""

    def stage(self, name: str, total: int) -> None:
        """Nothing."""

    def advance(self, units: int) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""
