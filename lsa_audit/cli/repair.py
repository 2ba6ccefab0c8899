"""`lsa-audit repair`: scale fragile neurons up and robust ones down, and say whether it helped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ExitCode, UsageError
from ..progress.interrupts import deferred
from . import gated, options
from .options import DATA, RUN

if TYPE_CHECKING:
    from ..repairing.repair import Repaired

REPAIR = "Repair"

Record = Annotated[
    Path, typer.Option("--record", metavar="RUN", help="Folder of a scan of MODEL that dropped neurons.")
]


def _share(value: float) -> float:
    """NaN passes the ranges of older releases of Typer."""
    if math.isnan(value):
        raise UsageError("--max-clean-drop nan is no share of the images", "give a number from 0 to 1")
    return value


def command(
    model: options.Model,
    record: Record,
    layers: Annotated[
        str | None,
        typer.Option(metavar="GLOB", help="Of the scanned ones; default: all but the logits.", rich_help_panel=REPAIR),
    ] = None,
    max_clean_drop: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            callback=_share,
            help="Share of the images that may be lost without attack.",
            rich_help_panel=REPAIR,
        ),
    ] = 0.01,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Repeatable: the first chooses, all judge; default: pgd, cascade.",
            rich_help_panel=REPAIR,
        ),
    ] = None,
    passes: Annotated[
        int | None,
        typer.Option(min=1, help="Of cascade, an image; default: the scan's, else 600.", rich_help_panel=REPAIR),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=3, help="Images that the scan did not use; default: up to 1,300.", rich_help_panel=DATA),
    ] = None,
    data: options.Data = None,
    class_order: options.ClassOrder = None,
    data_root: Annotated[Path | None, typer.Option(help="Where data sets are kept.", rich_help_panel=DATA)] = None,
    arch: options.Arch = None,
    checkpoint: options.Checkpoint = None,
    logits: options.Logits = None,
    outputs_are: options.OutputsAre = None,
    label_offset: options.LabelOffset = None,
    weights: options.Weights = None,
    allow_code: options.AllowCode = None,
    model_arg: options.ModelArg = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the images and attacks here.", rich_help_panel=RUN)] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="New or empty; default: reports/MODEL-repair-TIME.", rich_help_panel=RUN),
    ] = None,
    device: options.Device = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in one forward.", rich_help_panel=RUN)] = None,
    threads: options.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print repair.json.", rich_help_panel=RUN)] = False,
) -> int:
    """Repair MODEL by what RUN found of its neurons: fragile ones up, robust ones down, judged on other images."""
    from ..runs.reading import read_run, to_reload

    found, evidence = read_run(record)
    given = options.given(
        arch=arch,
        checkpoint=checkpoint,
        logits=logits,
        outputs_are=outputs_are,
        label_offset=label_offset,
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
    subject, settings = to_reload(found, model, given)

    # An interrupt inside torch's own start would end the process in a crash.
    with deferred():
        from ..repairing.repair import RepairRequest, repair
        from ..scanning.audit import make_profile
    from ..reporting.repair import summary, to_json
    from .console import TerminalProgress
    from .output import RunFolder

    profile = make_profile({"record": settings, "command line": given})
    folder = RunFolder.prepare(out, model, "repair", may_replace=False)
    repair_request = RepairRequest(layers, max_clean_drop, samples, tuple(options.words(attack) or ()), passes, seed)
    with folder.in_use() as taken:
        with TerminalProgress() as progress:
            result = repair(found, evidence, profile, subject, repair_request, progress)
        written = taken.write_files(_files(result))
    typer.echo(to_json(result.record).encode() if json else "\n".join(summary(result.record)), nl=not json)
    gated.say_where(written)
    return int(ExitCode.OK)


def _files(result: Repaired) -> dict[str, bytes]:
    from ..reporting.repair import to_html, to_json, to_markdown

    rendered = {
        "report.md": to_markdown(result.record),
        "report.html": to_html(result.record),
        "repair.json": to_json(result.record),
    }
    model = {} if result.file is None else dict(result.file.contents)
    return model | {name: content.encode() for name, content in rendered.items()}
