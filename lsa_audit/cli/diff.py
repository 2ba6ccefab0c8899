"""`lsa-audit diff`: what got better and worse between two runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..errors import ExitCode, UsageError
from . import completion
from .rendering import refuse_run

if TYPE_CHECKING:
    from ..diffing.sides import Side

TERMINAL = "terminal"
RUNS = "A run folder, its record.json, or a baseline."


def command(
    before: Annotated[Path, typer.Argument(metavar="A", help=f"Before. {RUNS}")],
    after: Annotated[Path, typer.Argument(metavar="B", help=f"After. {RUNS}")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="terminal|markdown|html|json",
            help="How to show it.",
            autocompletion=completion.diff_formats,
        ),
    ] = TERMINAL,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there instead of printing.")] = None,
    images: Annotated[int, typer.Option(min=0, help="Newly wrong and right images to name, of each.")] = 10,
) -> int:
    """Show what got better and worse from A to B per attack, class, image and layer; this is no verdict, see `gate`."""
    from ..diffing.differences import compare
    from ..reporting.diff import FORMATS
    from ..writing import write_whole

    if form not in FORMATS:
        raise UsageError(f"--format {form} is not known", f"there are {', '.join(FORMATS)}")
    if out is not None:
        refuse_run(Path(os.path.realpath(out)), "diff")
    found = compare(_side(before), _side(after), images, __version__)
    rendered = FORMATS[form](found)
    if out is None:
        # What others read is UTF-8 wherever it goes; a terminal has an encoding of its own.
        typer.echo(rendered if form == TERMINAL else rendered.encode(), nl=False)
    else:
        write_whole(out, rendered.encode())
    return int(ExitCode.OK)


def _side(path: Path) -> Side:
    from ..diffing.sides import Side
    from ..gating.baselines import is_baseline, of_run, read_baseline
    from ..runs.reading import read_run, stored

    if is_baseline(path):
        return Side(read_baseline(path).snapshot, "baseline")
    record, evidence = read_run(path)
    images = record.clean.total
    return Side(
        of_run(path, record, evidence, lambda record: [entry.perturbation for entry in record.sustainability]),
        image_ids=stored(evidence, "image_ids", "U", (images,)).tolist(),
        labels=stored(evidence, "labels", "iu", (images,)),
        environment=record.environment,
    )
