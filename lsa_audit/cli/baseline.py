"""`lsa-audit baseline`: the run that later runs are held against, small enough to be committed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import gate
from . import question as questions

if TYPE_CHECKING:
    from ..records.snapshot import Baseline, Snapshot

app = typer.Typer(
    help="Keep a run as the baseline that `gate` compares with.", no_args_is_help=True, pretty_exceptions_enable=False
)


@app.command("update")
def update(
    run: gate.Run,
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where baseline.json is or will be.")],
    accept: Annotated[
        str | None, typer.Option(metavar="REASON", help="Take the run although something got worse.")
    ] = None,
    profile: gate.Profile = None,
    preset: gate.Preset = None,
) -> int:
    """Make RUN the baseline in FOLDER if it is the first or nothing got worse; else --accept REASON says why."""
    from ..gating.baselines import exists, of_run, read_baseline, write_baseline
    from ..gating.needs import said
    from ..gating.replacing import updated
    from ..page.text import name, scaled
    from ..runs.reading import read_run

    record, evidence = read_run(run)
    gates = questions.of_run(record.settings, profile, preset, None).gates
    new = of_run(run, record, evidence, partial(questions.measures, gates))
    old = read_baseline(to) if exists(to) else None
    baseline = updated(old, new, datetime.now(UTC).date(), accept, gates)
    path, size = write_baseline(to, baseline)
    for line in _changes(old.snapshot if old else None, new):
        typer.echo(line)
    for line in said(new, gates):
        typer.echo(line)
    typer.echo(f"wrote {name(str(path))} ({scaled(size)}B): {name(baseline.history[-1].reason)}")
    return 0


@app.command("show")
def show(
    baseline: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with a baseline.json, or the file.")],
) -> int:
    """Print what the baseline in FOLDER holds, and how it came to be."""
    from ..gating.baselines import read_baseline

    for line in _description(read_baseline(baseline)):
        typer.echo(line)
    return 0


def _description(baseline: Baseline) -> Iterator[str]:
    from ..page.text import name, quantity, sentence

    snapshot = baseline.snapshot
    yield f"{name(snapshot.model.name)} on {name(snapshot.data.name)}: {sentence(snapshot.data.selection)}"
    yield f"{quantity(snapshot.clean.count, 'image')}; scanned {name(snapshot.started_at)} by lsa-audit " + name(
        snapshot.tool_version
    )
    yield from _changes(None, snapshot)
    for measured in snapshot.measured:
        kept = "" if measured.values is None else ", with the values of single images"
        yield f"layers under {name(measured.perturbation)}: {quantity(len(measured.layers), 'layer')}{kept}"
    for counted in snapshot.neurons:
        yield f"fragile neurons of {name(counted.layer)}: {counted.fragile:,} of {counted.neurons:,}"
    yield f"{quantity(len(snapshot.findings), 'finding')}, {quantity(len(snapshot.skipped), 'thing')} not measured"
    yield "history:"
    for accepted in baseline.history:
        yield f"  {name(accepted.day)}  {name(accepted.run)}  {sentence(accepted.reason)}"


def _changes(old: Snapshot | None, new: Snapshot) -> Iterator[str]:
    """The share of right images without attack and in each ball, before and after."""
    from ..page.text import DASH, percent

    before, after = _shares(old) if old else {}, _shares(new)
    for what in dict.fromkeys((*before, *after)):
        shown = [percent(side[what]) if what in side else DASH for side in ([before] if old else []) + [after]]
        yield f"{what}: {' -> '.join(shown)}"


def _shares(snapshot: Snapshot) -> dict[str, float]:
    from ..gating.patterns import balls
    from ..gating.snapshot import robust

    named = {"clean accuracy": robust(snapshot, ())}
    named |= {f"robust accuracy at {ball}": robust(snapshot, ids) for ball, ids in balls(snapshot).items()}
    return {what: float(right.mean()) for what, right in named.items()}
