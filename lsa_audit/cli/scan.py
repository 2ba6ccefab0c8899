"""`lsa-audit scan`: audit a model and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ExitCode, UsageError
from ..progress.interrupts import deferred
from . import completion, gated, options
from . import gate as gates
from .options import DATA, RUN

if TYPE_CHECKING:
    from ..attacks import Entry

ATTACKS = "Attacks"
MEASUREMENTS = "Measurements"

Out = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Where to write; default: reports/MODEL-DATA-TIME.", rich_help_panel=RUN),
]


def command(
    model: options.Model,
    data: options.Data = None,
    profile: options.Profile = "standard",
    out: Out = None,
    gate: Annotated[
        bool, typer.Option("--gate", help="Let the gates choose the exit code.", rich_help_panel=gates.GATES)
    ] = False,
    baseline: gates.Baseline = None,
    output: gates.Outputs = None,
    samples: Annotated[int | None, typer.Option(help="Seeded, class-balanced choice.", rich_help_panel=DATA)] = None,
    slice: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(metavar="START:STOP", help="Fixed range, all of it.", rich_help_panel=DATA)
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="auto|dataset|self", help="What counts as right.", rich_help_panel=DATA)
    ] = None,
    class_order: options.ClassOrder = None,
    data_root: Annotated[Path | None, typer.Option(help="Where data sets are kept.", rich_help_panel=DATA)] = None,
    offline: Annotated[bool | None, typer.Option("--offline", help="Never download.", rich_help_panel=DATA)] = None,
    arch: options.Arch = None,
    checkpoint: options.Checkpoint = None,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    input_size: options.InputSize = None,
    crop: options.Crop = None,
    interpolation: options.Interpolation = None,
    layout: options.Layout = None,
    channel_order: options.ChannelOrder = None,
    classes: options.Classes = None,
    logits: options.Logits = None,
    outputs_are: options.OutputsAre = None,
    label_offset: options.LabelOffset = None,
    allow_code: options.AllowCode = None,
    trust: options.Trust = None,
    model_arg: options.ModelArg = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|layer-pgd[LAYER]",
            help="Repeatable; see `list attacks`.",
            rich_help_panel=ATTACKS,
            autocompletion=completion.attacks,
        ),
    ] = None,
    noise: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Repeatable; `none` for none.",
            rich_help_panel=ATTACKS,
            autocompletion=completion.noises,
        ),
    ] = None,
    norm: Annotated[
        str | None,
        typer.Option(
            metavar="linf|l2|l1",
            help="Shape of the ball.",
            rich_help_panel=ATTACKS,
            autocompletion=completion.norms,
        ),
    ] = None,
    epsilon: Annotated[
        list[str] | None,
        typer.Option(
            metavar="E,E", help="Pixel units, e.g. 2/255,8/255; several give a curve.", rich_help_panel=ATTACKS
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of the gradient attacks.", rich_help_panel=ATTACKS)] = None,
    step_size: Annotated[str | None, typer.Option(help="Of the gradient attacks.", rich_help_panel=ATTACKS)] = None,
    restarts: Annotated[int | None, typer.Option(help="Of the gradient attacks.", rich_help_panel=ATTACKS)] = None,
    queries: Annotated[int | None, typer.Option(help="Of square, an image.", rich_help_panel=ATTACKS)] = None,
    passes: Annotated[int | None, typer.Option(help="Of cascade, an image.", rich_help_panel=ATTACKS)] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="learnable|activation|all|none|GLOB", help="Layers to measure.", rich_help_panel=MEASUREMENTS
        ),
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="See `list measures`.",
            rich_help_panel=MEASUREMENTS,
            autocompletion=completion.measures,
        ),
    ] = None,
    eta: Annotated[
        float | None, typer.Option(help="MVL: mean above mu + eta sigma.", rich_help_panel=MEASUREMENTS)
    ] = None,
    neurons: Annotated[
        str | None,
        typer.Option(
            metavar="first-conv|mvl|all|GLOB|none", help="Whose neurons to drop.", rich_help_panel=MEASUREMENTS
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="FORWARDS|none",
            help="Of dropping, in whole forwards an image.",
            rich_help_panel=MEASUREMENTS,
        ),
    ] = None,
    drop_value: Annotated[
        str | None, typer.Option(metavar="zero|mean", help="What a neuron becomes.", rich_help_panel=MEASUREMENTS)
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="patching|filters|none", help="Further measurements; repeatable.", rich_help_panel=MEASUREMENTS
        ),
    ] = None,
    seed: options.Seed = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images in one forward; default by size.", rich_help_panel=RUN)
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="float32|bf16|fp16", help="Of the attacks' queries, on CUDA.", rich_help_panel=RUN),
    ] = None,
    compile: Annotated[  # noqa: A002 - the option's name
        bool | None, typer.Option("--compile", help="Attack the model compiled by torch.", rich_help_panel=RUN)
    ] = None,
    save_adversarials: Annotated[
        bool | None,
        typer.Option("--save-adversarials", help="Keep the judged images, for `verify`.", rich_help_panel=RUN),
    ] = None,
    device: options.Device = None,
    threads: options.Threads = None,
) -> int:
    """Audit MODEL: clean and robust accuracy, the layers that break first, fragile neurons."""
    values = options.given(
        data=data,
        samples=samples,
        slice=slice,
        labels=labels,
        class_order=class_order,
        data_root=data_root,
        offline=offline,
        arch=arch,
        checkpoint=checkpoint,
        weights=weights,
        random_weights=random_weights,
        mean=options.numbers("--mean", mean),
        std=options.numbers("--std", std),
        input_size=input_size,
        crop=crop,
        interpolation=interpolation,
        layout=layout,
        channel_order=channel_order,
        classes=classes,
        logits=logits,
        outputs_are=outputs_are,
        label_offset=label_offset,
        allow_code=allow_code,
        trusted=options.words(trust),
        model_args=options.arguments(model_arg),
        noises=[] if noise == ["none"] else options.words(noise),
        norm=norm,
        epsilon=options.words(epsilon),
        layers=layers,
        measure=measure,
        eta=eta,
        neurons=neurons,
        drop_value=drop_value,
        probes=[] if probe == ["none"] else options.words(probe),
        seed=seed,
        batch_size=batch_size,
        precision=precision,
        compile=compile,
        save_adversarials=save_adversarials,
        device=device,
        threads=threads,
    )
    if budget is not None:
        values["budget"] = None if budget == "none" else options.number("--budget", budget)
    if slice is not None and samples is None:
        values["samples"] = None
    tuning = {
        "steps": options.given(steps=steps, step_size=step_size, restarts=restarts),
        "queries": options.given(queries=queries),
        "passes": options.given(passes=passes),
    }
    wanted = gated.Wanted(gate, baseline, tuple(output or ()))
    return run(model, profile, values, attacks=options.words(attack), tuning=tuning, out=out, wanted=wanted)


def run(
    model: str,
    profile: str,
    values: dict[str, Any],
    *,
    attacks: list[str] | None = None,
    tuning: dict[str, dict[str, Any]] | None = None,
    out: Path | None = None,
    wanted: gated.Wanted = gated.NOTHING,
) -> int:
    """Audit, write the run folder, print the summary, and choose the exit code.

    Raises:
        UsageError: a baseline that the run cannot be compared with; what only the scan shows leaves the run folder.
    """
    from ..settings import profile as profiles

    base = profiles.read(profile, values)
    if attacks or any((tuning or {}).values()):
        values = {**values, "attacks": tuned(attacks or base.get("attacks") or profiles.DEFAULT_ATTACKS, tuning or {})}

    # An interrupt inside torch's own start would end the process in a crash.
    with deferred():
        from ..scanning.audit import audit, make_profile
    from ..reporting.gates_terminal import summary as gates_summary
    from ..reporting.pictures import pictures
    from ..reporting.shown import Shown
    from ..reporting.terminal import summary
    from . import rendering
    from .console import Console, TerminalProgress
    from .output import RunFolder

    outputs = rendering.parse(wanted.output)
    effective = make_profile({f"profile {profile}": base, "command line": values})
    question, against = gated.asked(effective, profile, wanted)
    prepared = RunFolder.prepare(out, model, effective.data or "no-data")
    with prepared.in_use() as folder:
        with TerminalProgress() as progress:
            result = audit(model, effective, progress=progress)
        gating = gated.judged(folder, result, question, against, outputs)
        written = folder.write(result.record, result.evidence, gating)
    if outputs:
        rendering.write(outputs, Shown(result.record, gating, pictures(result.record, result.evidence)))
    # Where a report takes the standard output, nothing else may stand in it.
    console = Console(stderr=gates.takes_stdout(outputs))
    console.print(summary(result.record))
    code = ExitCode.INCONCLUSIVE if result.record.inconclusive else ExitCode.OK
    if gating is not None:
        console.print("", gates_summary(gating), sep="\n")
        code = gating.exit_code
    gated.say_where(written)
    return int(code)


def tuned(attacks: list[Any], tuning: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The attacks with --steps, --step-size and --restarts, --queries or --passes on those that take them.

    Args:
        tuning: what an attack's steps count -> settings for the attacks of that kind.

    Raises:
        UsageError: none of them takes one that was given.
    """
    from ..attacks import ATTACKS as CATALOGUE

    entries = [_settings(entry) if isinstance(entry, str) else dict(entry) for entry in attacks]
    kinds = [_kind(CATALOGUE.get(entry["name"])) for entry in entries]
    for kind, values in tuning.items():
        if values and kind not in kinds:
            hint = {"steps": "pgd", "queries": "square", "passes": "cascade"}[kind]
            raise UsageError(f"{', '.join(values)}: no attack here takes it", f"add one, e.g. --attack {hint}")
    changes = [_renamed(tuning.get(kind, {})) for kind in kinds]
    return [{**entry, **change} for entry, change in zip(entries, changes, strict=True)]


def _kind(entry: Entry | None) -> str:
    """What the steps of an attack count; a name that is not known gets everything, so that its own error is shown."""
    if entry is None:
        return "steps"
    return entry.steps_are if entry.iterative else ""


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    return {"steps" if key in ("queries", "passes") else key: value for key, value in values.items()}


def _settings(text: str) -> dict[str, Any]:
    """`pgd`, or `layer-pgd[LAYER]` as reports write it."""
    name, bracket, layer = text.removesuffix("]").partition("[")
    return {"name": name, "layer": layer} if bracket else {"name": text}
