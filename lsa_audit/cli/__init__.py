"""The command line: one file a command; parse, one call, write, exit code. Nothing here imports torch at import."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from . import (
    baseline,
    demo,
    diff,
    doctor,
    explain,
    gate,
    harden,
    init,
    layers,
    listing,
    repair,
    report,
    scan,
    schema,
    verify,
)

app = typer.Typer(
    name="lsa-audit",
    help="Audit image classifiers layer by layer and neuron by neuron for adversarial robustness.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("scan")(scan.command)
app.command("layers")(layers.command)
app.command("gate")(gate.command)
app.add_typer(baseline.app, name="baseline")
app.command("diff")(diff.command)
app.command("report")(report.command)
app.command("verify")(verify.command)
app.command("repair")(repair.command)
app.command("harden")(harden.command)
app.command("demo")(demo.command)
app.command("init")(init.command)
app.command("list")(listing.command)
app.command("explain")(explain.command)
app.command("schema")(schema.command)
app.command("doctor")(doctor.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lsa-audit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Audit image classifiers layer by layer and neuron by neuron for adversarial robustness."""
