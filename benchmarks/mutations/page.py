"""The table of the mutations that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .equivalents import EQUIVALENT
from .sites import Mutation
from .trial import STAGES

DEFAULT = STAGES[: STAGES.index("default") + 1]


def page(tried: Sequence[tuple[Mutation, Mapping[str, object]]], alike: Sequence[Mutation], seed: int) -> str:
    """The results as Markdown."""
    by_default = sum(result["stage"] in DEFAULT for _, result in tried)
    by_any = sum(result["stage"] is not None for _, result in tried)
    lines = [
        "# Mutations",
        "",
        f"{len(tried)} small faults drawn from the package by seed {seed}, tried one at a time (`make mutations`).",
        f"The default tests notice {by_default} of {len(tried)}, the default and the slow tests {by_any}.",
        "",
        "| file | kind | line before | line after | noticed by | stage |",
        "|---|---|---|---|---|---|",
    ]
    for entry, result in tried:
        stage = result["stage"] or f"survived ({result['last']})"
        lines.append(
            _row(entry.path, entry.kind, _code(entry.before), _code(entry.after), str(result["test"]), str(stage))
        )
    if alike:
        lines += ["", "Drawn too, and not counted, since nobody can see them:", "", "| file | before | after | why |"]
        lines += ["|---|---|---|---|"]
        lines += [_row(one.path, _code(one.before), _code(one.after), EQUIVALENT[one.key]) for one in alike]
    return "\n".join([*lines, ""])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _code(text: str) -> str:
    return f"`{text}`" if "`" not in text else f"`` {text} ``"
