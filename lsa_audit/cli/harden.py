"""`lsa-audit harden`: train a model against attacks, and say on images that were never trained on what that gained."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..errors import ExitCode, OutputError, UsageError
from ..progress.interrupts import deferred
from ..units import parse_epsilon
from . import gated, options
from . import harden_options as training
from .harden_source import source_of
from .options import DATA, RUN

if TYPE_CHECKING:
    from ..hardening.harden import Hardened, HardenRequest
    from ..hardening.training.trial import TimingTrial
    from ..settings.profile import Profile
    from .output import RunFolder

REPORTS = Path("reports")
MAX_CLEAN_DROP = 0.2
"""Published networks lost about 0.07 when hardened (CIFAR-10, arXiv 2202.02626); a collapsed one loses far more."""


def command(
    model: options.Model,
    at: training.At = None,
    norm: training.Norm = None,
    epsilon: training.Epsilon = None,
    steps: training.Steps = None,
    step_size: training.StepSize = None,
    beta: training.Beta = None,
    epsilon_warmup: training.EpsilonWarmup = None,
    awp: training.Awp = None,
    reg: training.Reg = None,
    layers: training.Layers = None,
    gamma: training.Gamma = None,
    eta: training.Eta = None,
    clean_statistics: training.CleanStatistics = None,
    lad_step: training.LadStep = None,
    lad_scale: training.LadScale = None,
    lad_warmup: training.LadWarmup = None,
    recipe: training.RecipeFile = None,
    epochs: training.Epochs = None,
    batch_size: training.BatchSize = None,
    accumulate: training.Accumulate = None,
    optimizer: training.Optimizer = None,
    lr: training.Lr = None,
    momentum: training.Momentum = None,
    weight_decay: training.WeightDecay = None,
    clip_grad: training.ClipGrad = None,
    schedule: training.Schedule = None,
    warmup: training.Warmup = None,
    bn: training.Bn = None,
    augment: training.Augment = None,
    label_smoothing: training.LabelSmoothing = None,
    ema: training.Ema = None,
    precision: training.Precision = None,
    channels_last: training.ChannelsLast = None,
    compile: training.Compile = None,  # noqa: A002 - the option's name
    deterministic: training.Deterministic = None,
    validation_steps: training.ValidationSteps = None,
    max_clean_drop: training.MaxCleanDrop = None,
    patience: training.Patience = None,
    save_every: training.SaveEvery = None,
    attack: training.Attack = None,
    passes: training.Passes = None,
    grid: training.Grid = None,
    data: training.Data = None,
    test: training.Test = None,
    samples: training.Samples = None,
    test_samples: training.TestSamples = None,
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
    profile: options.Profile = "standard",
    seed: options.Seed = None,
    out: training.Out = None,
    resume: training.Resume = None,
    dry_run: training.DryRun = False,
    device: options.Device = None,
    audit_batch_size: training.AuditBatchSize = None,
    threads: options.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print hardening.json.", rich_help_panel=RUN)] = False,
) -> int:
    """Train MODEL against attacks, on its vulnerable layers where asked, and say on other images what it gained."""
    asked = dict(locals())
    from ..settings import profile as profiles
    from ..settings.recipe import Recipe, make_recipe

    base = profiles.read(profile, options.given(arch=arch, allow_code=allow_code, trusted=options.words(trust)))
    given = options.given(
        data=data,
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
        attacks=options.words(attack),
        eta=eta,
        device=device,
        batch_size=audit_batch_size,
        threads=threads,
    )
    # Every setting of a recipe is an option of the same name.
    chosen = options.given(**{name: asked[name] for name in Recipe.model_fields})
    chosen |= options.given(gamma=training.weights(gamma))
    chosen |= options.given(augment=[] if augment == ["none"] else options.words(augment))
    defaults = {"max_clean_drop": MAX_CLEAN_DROP, "seed": base.get("seed", 0)}
    sources = {"recipe": training.read(recipe), "command line": chosen}
    settled = make_recipe({"default": defaults, **sources})

    # An interrupt inside torch's own start would end the process in a crash.
    with deferred():
        from ..hardening.checks import Checks
        from ..hardening.harden import HardenRequest
        from ..scanning.audit import make_profile

    # Mistakes are told before a scan is looked for.
    make_profile({f"profile {profile}": base, "command line": given})
    source = source_of(REPORTS, model, base, given, test)
    if source.seed is not None:
        settled = make_recipe({"default": {**defaults, "seed": source.seed}, **sources})
    if source.said:
        _say(source.said)
    last = {"the scan": source.settings, "command line": {**given, "seed": settled.seed}}
    effective = make_profile({f"profile {profile}": base, **last})
    wanted = HardenRequest(
        recipe=settled,
        eta=effective.eta,
        data=source.data or effective.data or "",
        scanned=source.scanned,
        test=test,
        samples=samples,
        test_samples=test_samples,
        checks=Checks(
            attacks=tuple(options.words(attack) or ()),
            passes=passes,
            grid=tuple(parse_epsilon(text, settled.norm) for text in options.words(grid) or ()),
        ),
    )
    if not _is_first():
        return _follow(model, effective, wanted, resume) if not dry_run else int(ExitCode.OK)
    if dry_run:
        return _try(model, effective, wanted, json)
    return _train(model, effective, wanted, _folder(model, out, resume), resume is not None, json)


def _try(model: str, profile: Profile, wanted: HardenRequest, json: bool) -> int:
    """A few steps, and what they let expect; nothing is written."""
    from ..hardening.harden import dry_run
    from .console import TerminalProgress

    with TerminalProgress() as progress:
        found = dry_run(model, profile, wanted, progress)
    lines = _expected(found, wanted.recipe.epochs)
    typer.echo(json_module.dumps(asdict(found), indent=2) if json else "\n".join(lines))
    return int(ExitCode.OK)


def _expected(trial: TimingTrial, epochs: int) -> list[str]:
    from ..page.text import duration, quantity, scaled

    return [
        f"{quantity(trial.steps_an_epoch, 'step')} an epoch, {duration(trial.seconds_a_step)} each; "
        f"validation after each epoch: {duration(trial.seconds_a_validation)}",
        f"{quantity(epochs, 'epoch')}: about {duration(trial.seconds_total)}, and the audits before and after",
        f"memory: about {scaled(trial.memory_bytes)}B",
    ]


def _train(model: str, profile: Profile, wanted: HardenRequest, folder: RunFolder, resume: bool, json: bool) -> int:
    """Train, write everything, print the verdict, and choose the exit code."""
    from ..hardening.harden import harden
    from ..reporting.hardening import summary, to_json
    from .console import TerminalProgress

    with folder.in_use() as taken, _resumable(taken.path):
        with TerminalProgress() as progress:
            # Only the other processes of torchrun get none.
            result = cast("Hardened", harden(model, profile, wanted, taken.path, progress, resume=resume))
        taken.write_files(_files(result))
    typer.echo(to_json(result.record).encode() if json else "\n".join(summary(result.record)), nl=not json)
    gated.say_where(taken.path)
    return int(ExitCode.INCONCLUSIVE if result.record.inconclusive else ExitCode.OK)


def _follow(model: str, profile: Profile, wanted: HardenRequest, resume: Path | None) -> int:
    """A process of torchrun that is not the first: it computes, and neither writes nor prints."""
    from ..hardening.harden import harden
    from ..progress import Silent

    harden(model, profile, wanted, resume or REPORTS, Silent(), resume=resume is not None)
    return int(ExitCode.OK)


def _is_first() -> bool:
    """Whether this process is alone, or the one of torchrun that writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def _folder(model: str, out: Path | None, resume: Path | None) -> RunFolder:
    """Where checkpoint, model and report go.

    Raises:
        UsageError: it holds other files, or nothing to resume.
        OutputError: it cannot be written.
    """
    from ..hardening.training.loop import CHECKPOINT_NAME
    from .output import RunFolder

    if resume is not None:
        if out not in (None, resume):
            raise UsageError(f"--out {out} is not the folder of --resume {resume}", "leave out --out")
        return RunFolder.begun(resume, CHECKPOINT_NAME)
    if out is not None:
        _refuse_begun(out, CHECKPOINT_NAME)
    return RunFolder.prepare(out, model, "harden", may_replace=False)


def _refuse_begun(out: Path, checkpoint: str) -> None:
    """Point to --resume where a training was begun, and does not go on now.

    Raises:
        UsageError: it was.
    """
    from ..writing.locking import is_held

    # What cannot be looked at is told with the folder.
    with suppress(OSError, ValueError):
        if (out / checkpoint).is_file() and not is_held(out):
            hint = f"go on with --resume {out}, or name another folder with --out"
            raise UsageError(f"{out} holds a training that was begun", hint)


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Say how to go on where the work was cut and a checkpoint is there."""
    from ..hardening.training.loop import CHECKPOINT_NAME

    try:
        yield
    except (KeyboardInterrupt, OutputError):
        if (folder / CHECKPOINT_NAME).is_file():
            _say(f"to go on: the same command with --resume {folder}")
        raise


def _files(result: Hardened) -> dict[str, bytes]:
    from ..reporting.hardening import to_html, to_json, to_markdown
    from .output import run_files

    audits = {"before": result.before, "after": result.after}
    runs = {
        f"{when}/{name}": content
        for when, audit in audits.items()
        if audit is not None
        for name, content in run_files(audit.record, audit.evidence).items()
    }
    rendered = {
        "report.md": to_markdown(result.record),
        "report.html": to_html(result.record),
        "hardening.json": to_json(result.record),
    }
    return runs | {name: content.encode() for name, content in rendered.items()}


def _say(text: str) -> None:
    from .console import Console

    if _is_first():
        Console(stderr=True).print(text, highlight=False, soft_wrap=True, markup=False)
