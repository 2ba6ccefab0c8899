"""`lsa-audit list`: what there is to choose from."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from typing import Annotated

import typer

from ..errors import UsageError

Rows = list[dict[str, str]]


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


def _measures() -> Rows:
    from typing import get_args

    from ..profile import Measure

    return [{"name": name} for name in get_args(Measure)]


TOPICS: dict[str, Callable[[], Rows]] = {
    "attacks": _attacks,
    "data": _data,
    "profiles": _profiles,
    "measures": _measures,
}


def command(
    topic: Annotated[str, typer.Argument(metavar="|".join(TOPICS), help="What to list.")],
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """List attacks, data sets, profiles or measures."""
    if topic not in TOPICS:
        raise UsageError(f"nothing is listed under {topic!r}", f"there is {', '.join(TOPICS)}")
    rows = TOPICS[topic]()
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
        return 0
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    for row in [{key: key for key in widths}, *rows]:
        typer.echo("  ".join(row[key].ljust(widths[key]) for key in widths).rstrip())
    return 0
