"""`lsa-audit verify`: judge the stored images of a run again."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ExitCode
from ..progress.interrupts import deferred
from . import options
from .options import DATA, MODEL, RUN

if TYPE_CHECKING:
    from ..records.verification import Checked, VerdictDifference, Verification

HEAD = ("perturbation", "images", "agree", "rounding", "distance", "sha256")
"""Verdicts that agree or that rounding decides, and the largest distance of a stored image from its clean one."""
NAME_WIDTH = 32


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `scan --save-adversarials` wrote.")],
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Instead of the record's; needed where it is code.", rich_help_panel=MODEL),
    ] = None,
    arch: options.Arch = None,
    checkpoint: options.Checkpoint = None,
    weights: options.Weights = None,
    allow_code: options.AllowCode = None,
    model_arg: options.ModelArg = None,
    data: options.Data = None,
    class_order: options.ClassOrder = None,
    data_root: Annotated[Path | None, typer.Option(help="Where data sets are kept.", rich_help_panel=DATA)] = None,
    device: options.Device = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in one forward.", rich_help_panel=RUN)] = None,
    threads: options.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Load model and data again and judge every stored image of RUN; exit code 1 where anything is not as recorded."""
    from ..runs.reading import read_run, to_reload

    record, evidence = read_run(run)
    given = options.given(
        arch=arch,
        checkpoint=checkpoint,
        weights=weights,
        allow_code=allow_code,
        model_args=options.arguments(model_arg),
        data=data,
        class_order=class_order,
        data_root=data_root,
        device=device,
        batch_size=batch_size,
        threads=threads,
    )
    subject, settings = to_reload(record, model, given)

    # An interrupt inside torch's own start would end the process in a crash.
    with deferred():
        from ..scanning.audit import make_profile
        from ..scanning.verify import verify
    from .console import TerminalProgress

    profile = make_profile({"record": settings, "command line": given})
    with TerminalProgress() as progress:
        found = verify(record, evidence, profile, subject, progress)
    if json:
        content = {"verified": not found.differences, **found.model_dump(mode="json")}
        typer.echo(json_module.dumps(content, indent=2))
    else:
        typer.echo("\n".join([*_table(found.checks), *_conclusion(found)]))
    return int(ExitCode.GATE_FAILED if found.differences else ExitCode.OK)


def _table(checks: tuple[Checked, ...]) -> list[str]:
    rows = [HEAD, *(_row(checked) for checked in checks)] if checks else []
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))] if rows else []
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells))
    return lines


def _row(checked: Checked) -> tuple[str, ...]:
    from ..page import text

    hashes = {True: "ok", False: "differs", None: text.DASH}
    return (
        text.name(checked.perturbation, NAME_WIDTH),
        str(checked.images),
        str(checked.agree),
        str(checked.within_rounding.count),
        text.number(checked.largest_distance),
        hashes[checked.sha256_agrees],
    )


def _conclusion(found: Verification) -> list[str]:
    from ..page.text import quantity

    if found.differences:
        count = quantity(len(found.differences), "difference")
        return [f"not verified: {count}", *(f"  {_line(entry)}" for entry in found.differences)]
    judged = sum(checked.images for checked in found.checks)
    rounding = sum(checked.within_rounding.count for checked in found.checks)
    apart = f", but for {rounding} near a tie that rounding decides" if rounding else ""
    return [f"verified: {quantity(judged, 'verdict')} as recorded{apart}"]


def _line(difference: VerdictDifference) -> str:
    from ..page.text import name, quantity, sentence

    line = f"{name(difference.subject)}: {sentence(difference.what)}"
    if difference.images is None:
        return line
    shown, count = difference.images.first_ids, difference.images.count
    rest = f" and {count - len(shown)} more" if count > len(shown) else ""
    return f"{line}: {quantity(count, 'image')}: {', '.join(map(name, shown))}{rest}"
