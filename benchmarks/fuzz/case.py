"""What one case is, and what families of cases share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.random import Generator

QUICK = ["--samples", "20", "--attack", "fgsm", "--epsilon", "0.1", "--noise", "none", "--threads", "1"]
"""Options under which one scan takes a fraction of a second."""

VERDICTS_ONLY = ["--neurons", "none", "--probe", "none", "--layers", "none"]

NASTY: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**400,
    -0.0,
    0.5,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "none",
    "8/0",
    "NaN",
    "\x00",
    "\x1b[31mred",
    "../../etc/passwd",
    "=1+1",
    "x" * 5000,
    "\u202e\ud7ff\U0001f600",
    [],
    {},
    [[[]]],
    {"a": {"b": []}},
)
"""Values that stand where another one is expected."""


@dataclass(frozen=True)
class Case:
    """One call of the command line.

    Attributes:
        name: family, number and what was done, for the table.
        arguments: of `lsa-audit`.
        may_fail: whether exit code 1 is a possible answer (a gate, a comparison).
        command_only: whether the case means something through the real command alone.
        environment: variables of the real command besides those that are there.
        standard_output: the file that it writes to, where that is not read and judged.
    """

    name: str
    arguments: tuple[str, ...]
    may_fail: bool = False
    command_only: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    standard_output: str = ""


Family = Callable[[Generator, Path, int], Case]
"""Generator, an empty folder, the case's number -> a case whose files lie in the folder."""


def pick(draws: Generator, items: Sequence[Any]) -> Any:
    """One of the items, as it is."""
    return items[int(draws.integers(len(items)))]


def scan(*arguments: str, data: str = "digits", quick: Sequence[str] = (*QUICK, *VERDICTS_ONLY)) -> tuple[str, ...]:
    """A small scan that writes into the case's own folder."""
    return ("scan", *arguments, "--data", data, *quick, "--out", "run")
