"""`lsa-audit list`: what there is to choose from."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from ..errors import UsageError
from . import completion
from .topics import TOPICS, rows


def command(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]", help="What to list; without it: the topics.", autocompletion=completion.topics
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """List attacks, data sets, profiles, kinds of layers, measures, findings, gates, presets or formats."""
    from rich.table import Table
    from rich.text import Text

    from .console import Console

    if topic is not None and topic not in TOPICS:
        raise UsageError(f"nothing is listed under {topic!r}", f"there is {', '.join(TOPICS)}")
    table = [{"topic": name, "what": entry.what} for name, entry in TOPICS.items()] if topic is None else rows(topic)
    if json:
        typer.echo(json_module.dumps(table, indent=2))
        return 0
    if (console := Console()).is_terminal:
        grid = Table(*table[0], box=None, padding=(0, 2, 0, 0), header_style="bold")
        for row in table:
            grid.add_row(*map(Text, row.values()))
        console.print(grid)
        return 0
    widths = {key: max(len(key), *(len(row[key]) for row in table)) for key in table[0]}
    for row in [{key: key for key in widths}, *table]:
        typer.echo("  ".join(row[key].ljust(widths[key]) for key in widths).rstrip())
    return 0
