"""`lsa-audit explain`: what a finding means and what to do about it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

import typer

from ..errors import UsageError


def command(
    rule: Annotated[str | None, typer.Argument(metavar="[ID]", help="Id of a finding; without it: all ids.")] = None,
) -> int:
    """Explain a finding: its meaning, how it is computed, how its threshold was set, what to do."""
    from ..findings import RULES
    from ..findings.explanations import page, title
    from .console import Console

    if rule is None:
        width = max(len(name) for name in RULES)
        for name in RULES:
            typer.echo(f"{name.ljust(width)}  {title(name)}")
        return 0
    if rule not in RULES:
        (nearest,) = get_close_matches(rule, RULES, n=1, cutoff=0.0)
        raise UsageError(f"no finding is called {rule!r}", f"did you mean {nearest}? `lsa-audit explain` lists them")
    console = Console()
    if console.is_terminal:
        from rich.markdown import Markdown

        console.print(Markdown(page(rule)))
    else:
        typer.echo(page(rule), nl=False)
    return 0
