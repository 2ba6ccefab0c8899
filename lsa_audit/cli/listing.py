"""`lsa-audit list`: what there is to choose from."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from ..errors import UsageError
from . import completion

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Topic:
    """Something that is listed: what it is, in words, and its rows, all with the same columns."""

    what: str
    rows: Callable[[], Rows]


def _attacks() -> Rows:
    from ..attacks import ATTACKS

    return [
        {
            "name": name,
            "kind": entry.kind,
            "norms": ", ".join(entry.norms),
            "steps": str(entry.steps) if entry.iterative else "-",
            "source": entry.citation,
            "what": entry.summary,
        }
        for name, entry in ATTACKS.items()
    ]


def _data() -> Rows:
    from ..data import LOADERS

    return [{"name": name if loader.named else "-", "what": loader.summary} for name, loader in LOADERS.items()]


def _profiles() -> Rows:
    from ..profile import presets

    return [
        {"name": name, "what": path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ").strip()}
        for name, path in presets().items()
    ]


def _explained(topic: str) -> Rows:
    from ..explanations import title
    from .explain import catalogue

    return [{"name": name, "what": title(topic, name)} for name in catalogue()[topic]]


def _findings() -> Rows:
    from ..findings import HEALTH_RULES

    groups = dict.fromkeys(HEALTH_RULES, "attack-health")
    return [
        {"name": row["name"], "group": groups.get(row["name"], "result"), "what": row["what"]}
        for row in _explained("findings")
    ]


def _gates() -> Rows:
    from ..gates import GATES

    return [
        {"name": name, "limits": ", ".join(kind.limits), "what": kind.summary, "target": kind.target or "-"}
        for name, kind in GATES.items()
    ]


def _formats() -> Rows:
    from ..report import FORMATS

    return [{"name": name, "file": file} for name, (file, _) in FORMATS.items()]


LAYERS = {
    "learnable": "convolutions, linear and recurrent layers",
    "norm": "batch, layer and group norms",
    "attention": "attention",
    "activation": "activation functions",
    "add": "residual additions",
    "pool": "pooling",
    "block": "repeated units such as a residual block, and modules of no known class",
    "all": "every layer",
    "none": "no layer",
}
"""What `--layers` takes beside names: the kinds, and two words."""


def _layers() -> Rows:
    return [{"name": name, "what": what} for name, what in LAYERS.items()]


TOPICS: dict[str, Topic] = {
    "attacks": Topic("attacks and noises, for --attack and --noise", _attacks),
    "data": Topic("data sets and forms of data, for --data", _data),
    "profiles": Topic("settings that come with the program, for --profile", _profiles),
    "layers": Topic("kinds of layers, for --layers", _layers),
    "measures": Topic("how the movement of a layer is measured, for --measure", lambda: _explained("measures")),
    "findings": Topic("what a report may tell, for `explain`", _findings),
    "gates": Topic("what a profile may limit, for `gates`", _gates),
    "presets": Topic("gates by one name, for --preset", lambda: _explained("presets")),
    "formats": Topic("forms of the report, for --format and --output", _formats),
}


def rows(topic: str) -> Rows:
    """The rows of a key of `TOPICS`."""
    return TOPICS[topic].rows()


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
