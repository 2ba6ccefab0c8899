"""`lsa-audit report`: render a run again, from its record, with pictures where its evidence is there too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completion, rendering
from .rendering import STDOUT

DEFAULT = "markdown"


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `scan` wrote, or its record.json.")],
    format: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(
            metavar="markdown|html|json|sarif|junit|github|github-annotations|model-card",
            help=f"What to write; default: {DEFAULT}.",
            autocompletion=completion.formats,
        ),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE|-", help="Where to; default: the standard output.")] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(metavar="FORMAT=FILE", help="Several at once; repeatable.", autocompletion=completion.outputs),
    ] = None,
) -> int:
    """Render RUN in another format. Neither the model nor the data is needed."""
    texts = output or []
    if format or out or not texts:
        texts = [f"{format or DEFAULT}={out or STDOUT}", *texts]
    outputs = rendering.parse(texts)

    from ..reporting.pictures import pictures
    from ..reporting.shown import Shown
    from ..runs.reading import read_evidence, read_gating, read_record_of

    record, evidence = read_record_of(run), read_evidence(run)
    shown = () if evidence is None else pictures(record, evidence)
    rendering.write(outputs, Shown(record, read_gating(run), shown))
    return 0
