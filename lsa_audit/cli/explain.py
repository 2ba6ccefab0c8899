"""`lsa-audit explain`: what a name in a report means and what to do about it."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated

import typer

from ..errors import UsageError
from . import completion
from .topics import catalogue


def command(
    entry: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="A finding, gate, preset, attack, noise or measure, as a report writes it; without it: all.",
            autocompletion=completion.explained,
        ),
    ] = None,
) -> int:
    """Explain a finding, gate, attack or measure: its meaning, how it is computed, what to do."""
    from ..explanations import page
    from .console import Console

    if entry is None:
        _list_all()
        return 0
    known = catalogue()
    name = plain(entry)
    topic = next((topic for topic, names in known.items() if name in names), None)
    if topic is None:
        (nearest,) = get_close_matches(name, [name for names in known.values() for name in names], n=1, cutoff=0.0)
        raise UsageError(f"nothing is called {entry!r}", f"did you mean {nearest}? `lsa-audit explain` lists all")
    console = Console()
    if console.is_terminal:
        from rich.markdown import Markdown

        console.print(Markdown(page(topic, name)))
    else:
        typer.echo(page(topic, name), nl=False)
    return 0


def plain(entry: str) -> str:
    """The id in what a report writes: without target, limit, ball and layer.

    >>> [plain(text) for text in ("robust_accuracy@linf-8/255:max_drop", "gate/mvl", "layer-pgd[fc]", "labels")]
    ['robust_accuracy', 'mvl', 'layer-pgd', 'labels']
    """
    return re.split(r"[@\[:]", entry.strip().removeprefix("gate/"), maxsplit=1)[0]


def _list_all() -> None:
    from ..explanations import title

    known = catalogue()
    width = max(len(name) for names in known.values() for name in names)
    for topic, names in known.items():
        typer.echo(f"{topic}:")
        for name in names:
            typer.echo(f"  {name.ljust(width)}  {title(topic, name)}")
