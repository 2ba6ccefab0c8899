"""`lsa-audit gate`: judge a run by its gates, beside a baseline where one is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from . import question as questions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..gating.verdict import Question
    from ..records import AuditRecord
    from ..records.gating import Gating
    from ..records.snapshot import Snapshot
    from ..settings.gates import Gate
    from .rendering import Output

GATES = "Gates"
JSON = "json"

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `scan` wrote, or its record.json.")]
Baseline = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN|FOLDER", help="What to compare with: a run, or a folder with baseline.json.", rich_help_panel=GATES
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE.yaml",
        help="Whose gates and waivers count.",
        rich_help_panel=GATES,
        autocompletion=completion.profiles,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="default|strict|warn",
        help="Gates by name.",
        rich_help_panel=GATES,
        autocompletion=completion.presets,
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="FORMAT=FILE",
        help="A report in a format; repeatable.",
        rich_help_panel="Reports",
        autocompletion=completion.outputs,
    ),
]


def command(
    run: Run,
    baseline: Baseline = None,
    profile: Profile = None,
    preset: Preset = None,
    waivers: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="More waivers.", rich_help_panel=GATES)
    ] = None,
    output: Outputs = None,
    json: Annotated[bool, typer.Option("--json", help="Print gate.json.", rich_help_panel="Reports")] = False,
) -> int:
    """Judge RUN: exit code 0 where every gate passes, 1 where one fails, 3 where the images do not decide."""
    from ..reporting.gates_terminal import summary
    from ..runs.reading import read_run
    from . import rendering
    from .console import Console

    outputs = rendering.parse([*(output or ()), *([f"{JSON}={rendering.STDOUT}"] if json else ())])
    record, evidence = read_run(run)
    question = questions.of_run(record.settings, profile, preset, waivers)
    gating = judged(run, record, evidence, question, held_against(baseline, question.gates))
    _write(outputs, record, evidence, gating)
    Console(stderr=takes_stdout(outputs)).print(summary(gating))
    return int(gating.exit_code)


def takes_stdout(outputs: Sequence[Output]) -> bool:
    """Whether a report goes to the standard output, so that nothing else may."""
    return any(output.path is None for output in outputs)


def _write(
    outputs: Sequence[Output], record: AuditRecord, evidence: Mapping[str, NDArray[Any]], gating: Gating
) -> None:
    """The reports of the run; `json` is gate.json here, which is what is new."""
    from ..reporting.gates_terminal import to_json
    from ..reporting.pictures import pictures
    from ..reporting.shown import Shown
    from ..writing import write_whole
    from . import rendering

    if others := [output for output in outputs if output.format != JSON]:
        rendering.write(others, Shown(record, gating, pictures(record, evidence)))
    for path in (output.path for output in outputs if output.format == JSON):
        if path is None:
            typer.echo(to_json(gating).encode(), nl=False)
        else:
            write_whole(path, to_json(gating).encode())


def held_against(baseline: Path | None, gates: Mapping[str, Gate]) -> Snapshot | None:
    """What `--baseline` names.

    Raises:
        UsageError, DataError, UnsafeError: it cannot be read.
    """
    from ..gating.baselines import read_side

    return None if baseline is None else read_side(baseline, partial(questions.measures, gates))


def judged(
    run: Path, record: AuditRecord, evidence: Mapping[str, NDArray[Any]], question: Question, baseline: Snapshot | None
) -> Gating:
    """What the gates say of a run.

    Args:
        run: its folder or record, after which it is called.

    Raises:
        UsageError: it cannot be compared with the baseline, or a gate finds nothing to look at.
        DataError: evidence that is not as a scan writes it.
    """
    from ..gating.baselines import of_run
    from ..gating.verdict import judge

    return judge(of_run(run, record, evidence, partial(questions.measures, question.gates)), baseline, question)
