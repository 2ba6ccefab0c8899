"""The options of `lsa-audit harden` alone, and how their text becomes raw settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ProfileError, UsageError
from . import options
from .options import DATA, RUN

TRAINING = "Training"
REGULARIZER = "Regulariser"
RECIPE = "Recipe"
CHECKS = "Checks"

At = Annotated[
    str | None,
    typer.Option(
        metavar="none|fgsm|pgd|apgd|free|trades|mart",
        help="Attack in training; default: pgd.",
        rich_help_panel=TRAINING,
    ),
]
Norm = Annotated[
    str | None, typer.Option(metavar="linf|l2", help="Shape of the ball; default: linf.", rich_help_panel=TRAINING)
]
Epsilon = Annotated[
    str | None, typer.Option(metavar="E", help="Pixel units; default: 8/255.", rich_help_panel=TRAINING)
]
Steps = Annotated[
    int | None,
    typer.Option(
        help="Of the attack; default: fgsm 1, pgd 7, apgd 7, free 4, trades 10, mart 10.", rich_help_panel=TRAINING
    ),
]
StepSize = Annotated[
    str | None,
    typer.Option(
        metavar="E",
        help="Default: epsilon / 4; fgsm: 1.25 epsilon, free: epsilon, apgd: 2 epsilon.",
        rich_help_panel=TRAINING,
    ),
]
Beta = Annotated[
    float | None,
    typer.Option(help="Of trades and mart: weight of the divergence; default: 6.", rich_help_panel=TRAINING),
]
EpsilonWarmup = Annotated[
    float | None, typer.Option(help="Epochs in which epsilon rises; default: 0.", rich_help_panel=TRAINING)
]
Awp = Annotated[
    float | None,
    typer.Option(help="Weights are attacked too, by this share of their norm; default: 0.", rich_help_panel=TRAINING),
]

Reg = Annotated[
    str | None,
    typer.Option(
        metavar="none|atlr|lad-lie|lad-strang", help="Layer-wise method; default: none.", rich_help_panel=REGULARIZER
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        metavar="mvl|all|GLOB",
        help="Layers that it acts on; default: mvl, the most vulnerable ones.",
        rich_help_panel=REGULARIZER,
    ),
]
Gamma = Annotated[
    list[str] | None,
    typer.Option(
        metavar="auto|NUMBER|LAYER=NUMBER",
        help="Of atlr: weight of a layer's relative error; repeatable with LAYER=; default: auto.",
        rich_help_panel=REGULARIZER,
    ),
]
Eta = Annotated[
    float | None, typer.Option(help="MVL: mean above mu + eta sigma; default: 0.8.", rich_help_panel=REGULARIZER)
]
CleanStatistics = Annotated[
    str | None,
    typer.Option(
        metavar="train|eval",
        help="Of batch norms in the clean forward that atlr, trades and mart need; default: train.",
        rich_help_panel=REGULARIZER,
    ),
]
LadStep = Annotated[
    float | None, typer.Option(help="Of lad at every hidden layer; default: 0.01.", rich_help_panel=REGULARIZER)
]
LadScale = Annotated[
    str | None,
    typer.Option(
        metavar="relative|raw",
        help="relative: the step is a share of the activation's norm; default: relative.",
        rich_help_panel=REGULARIZER,
    ),
]
LadWarmup = Annotated[
    float | None, typer.Option(help="Epochs until the step of lad is reached; default: 1.", rich_help_panel=REGULARIZER)
]

RecipeFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.yaml", help="Settings of the training; options go before them.", rich_help_panel=RECIPE),
]
Epochs = Annotated[int | None, typer.Option(help="Default: 10.", rich_help_panel=RECIPE)]
BatchSize = Annotated[
    int | None, typer.Option(help="Images in one step, over all processes; default: 128.", rich_help_panel=RECIPE)
]
Accumulate = Annotated[
    int | None, typer.Option(help="Parts of a batch, one after the other; default: 1.", rich_help_panel=RECIPE)
]
Optimizer = Annotated[str | None, typer.Option(metavar="sgd|adamw|adam", help="Default: sgd.", rich_help_panel=RECIPE)]
Lr = Annotated[float | None, typer.Option(help="Learning rate; default: 0.01.", rich_help_panel=RECIPE)]
Momentum = Annotated[float | None, typer.Option(help="Of sgd; default: 0.9.", rich_help_panel=RECIPE)]
WeightDecay = Annotated[float | None, typer.Option(help="Default: 0.0005.", rich_help_panel=RECIPE)]
ClipGrad = Annotated[
    float | None, typer.Option(help="Largest norm of the gradient; default: none.", rich_help_panel=RECIPE)
]
Schedule = Annotated[
    str | None,
    typer.Option(
        metavar="none|cosine|linear|multistep", help="Of the learning rate; default: cosine.", rich_help_panel=RECIPE
    ),
]
Warmup = Annotated[
    float | None, typer.Option(help="Epochs in which the learning rate rises; default: 0.", rich_help_panel=RECIPE)
]
Bn = Annotated[
    str | None,
    typer.Option(
        metavar="train|frozen",
        help="Batch norms learn their statistics or keep them; default: train.",
        rich_help_panel=RECIPE,
    ),
]
Augment = Annotated[
    list[str] | None,
    typer.Option(metavar="flip|crop|erase|none", help="Repeatable; default: none.", rich_help_panel=RECIPE),
]
LabelSmoothing = Annotated[float | None, typer.Option(help="Default: 0.", rich_help_panel=RECIPE)]
Ema = Annotated[float | None, typer.Option(help="Decay of averaged weights; default: 0, none.", rich_help_panel=RECIPE)]
Precision = Annotated[
    str | None, typer.Option(metavar="float32|bf16", help="Of the training; default: float32.", rich_help_panel=RECIPE)
]
ChannelsLast = Annotated[
    bool | None,
    typer.Option("--channels-last/--no-channels-last", help="Memory format; default: no.", rich_help_panel=RECIPE),
]
Compile = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="By torch; default: no.", rich_help_panel=RECIPE)
]
Deterministic = Annotated[
    bool | None,
    typer.Option(
        "--deterministic/--no-deterministic", help="The same bits again; default: yes.", rich_help_panel=RECIPE
    ),
]

ValidationSteps = Annotated[
    int | None, typer.Option(help="Of PGD after each epoch; default: 10.", rich_help_panel=CHECKS)
]
MaxCleanDrop = Annotated[
    float | None,
    typer.Option(help="Share of clean accuracy that the kept weights may lose; default: 0.2.", rich_help_panel=CHECKS),
]
Patience = Annotated[
    int | None, typer.Option(help="Epochs without better weights; default: all epochs.", rich_help_panel=CHECKS)
]
SaveEvery = Annotated[
    int | None, typer.Option(help="Steps between checkpoints; default: after each epoch.", rich_help_panel=CHECKS)
]
Attack = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Of the audits before and after; repeatable; default: fgsm, pgd, apgd-ce, cascade.",
        rich_help_panel=CHECKS,
    ),
]
Passes = Annotated[int | None, typer.Option(min=1, help="Of cascade, an image.", rich_help_panel=CHECKS)]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        metavar="E,E",
        help="Epsilons of the R&G score; default: halves of epsilon, up to twice.",
        rich_help_panel=CHECKS,
    ),
]

Data = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:PART]|FOLDER|FILE.npz",
        help="To train on, of a named set the training images; default: --profile's, else that of the latest scan of "
        "MODEL in reports/, with the options of the model.",
        rich_help_panel=DATA,
    ),
]
Test = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:PART]|FOLDER|FILE.npz",
        help="To judge on; default: the test images of a named --data, else a held-out fifth of it.",
        rich_help_panel=DATA,
    ),
]
Samples = Annotated[int | None, typer.Option(min=1, help="Of --data; default: all.", rich_help_panel=DATA)]
TestSamples = Annotated[
    int | None,
    typer.Option(min=1, help="To judge on; default: all of --test; 1,000 of a named --data.", rich_help_panel=DATA),
]

Out = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="New or empty; default: reports/MODEL-harden-TIME.", rich_help_panel=RUN),
]
Resume = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Go on with the training in it; same options.", rich_help_panel=RUN),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Two steps; print the time and memory to expect.", rich_help_panel=RUN)
]
AuditBatchSize = Annotated[int | None, typer.Option(help="Images in one forward of the audits.", rich_help_panel=RUN)]


def weights(items: Sequence[str] | None) -> str | float | dict[str, float] | None:
    """The value of --gamma: `auto`, one number, or a number for each named layer.

    Raises:
        UsageError: no number, or both forms together.
    """
    if not items:
        return None
    if len(items) == 1 and "=" not in items[0]:
        return items[0] if items[0] == "auto" else options.number("--gamma", items[0])
    pairs = [item.rpartition("=") for item in items]
    if not all(layer for layer, _, _ in pairs):
        raise UsageError(f"--gamma {' '.join(items)} is not one weight", "repeat it only as --gamma LAYER=NUMBER")
    return {layer: options.number("--gamma", number) for layer, _, number in pairs}


def read(path: Path | None) -> dict[str, Any]:
    """The settings in a recipe's file; keys may be written as the options are. None: no settings.

    Raises:
        ProfileError: it cannot be read as plain YAML, or has keys that are no settings; all of them.
    """
    from ..settings.plain_yaml import PlainYamlError, read_mapping
    from ..settings.recipe import Recipe

    if path is None:
        return {}
    try:
        values = {key.replace("-", "_"): value for key, value in read_mapping(path).items()}
    except PlainYamlError as error:
        raise ProfileError(f"recipe {path.name}: {error}", "write `key: value` lines") from None
    unknown = [key for key in values if key not in Recipe.model_fields]
    if unknown:
        raise ProfileError(
            f"recipe {path.name}: {', '.join(unknown)}: no such setting", f"there are {', '.join(Recipe.model_fields)}"
        )
    return values
