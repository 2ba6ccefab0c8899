"""Options that several commands share, and how their text becomes raw settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from . import completion

MODEL = "Model"
DATA = "Data"
RUN = "Run"

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Model file (TorchScript, .pt2, ONNX; a checkpoint with --arch), built-in name, timm name "
        "(also hf_hub:...), or FILE.py:FACTORY.",
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What a checkpoint file is for: timm name or factory.", rich_help_panel=MODEL),
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="Weights: .safetensors or a pickled state dict.", rich_help_panel=MODEL)
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="ema|raw|NAME",
        help="Which weights of a checkpoint that holds several [default: EMA weights, if there are any].",
        rich_help_panel=MODEL,
    ),
]
RandomWeights = Annotated[
    bool | None, typer.Option("--random-weights", help="Seeded random weights, no download.", rich_help_panel=MODEL)
]
Mean = Annotated[
    str | None, typer.Option(metavar="M,M,M", help="Mean per channel on pixels in [0, 1].", rich_help_panel=MODEL)
]
Std = Annotated[
    str | None, typer.Option(metavar="S,S,S", help="Standard deviation per channel.", rich_help_panel=MODEL)
]
InputSize = Annotated[
    str | None, typer.Option(metavar="CxHxW", help="Input size, e.g. 3x224x224.", rich_help_panel=MODEL)
]
Crop = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", help="Share of a photo's short side that the centre crop keeps.", rich_help_panel=MODEL
    ),
]
Interpolation = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="How images are resized: bilinear, bicubic, nearest ...", rich_help_panel=MODEL),
]
Layout = Annotated[
    str | None, typer.Option(metavar="nchw|nhwc|flat", help="How the network wants an image.", rich_help_panel=MODEL)
]
ChannelOrder = Annotated[
    str | None,
    typer.Option(
        metavar="rgb|bgr", help="Order of the network's channels, also of --mean, --std.", rich_help_panel=MODEL
    ),
]
Classes = Annotated[int | None, typer.Option(help="Classes that the model must have.", rich_help_panel=MODEL)]
Logits = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|INDEX", help="Output that holds the logits, where there are several.", rich_help_panel=MODEL
    ),
]
OutputsAre = Annotated[
    str | None,
    typer.Option(
        metavar="logits|probabilities", help="What the outputs are, where nothing tells.", rich_help_panel=MODEL
    ),
]
LabelOffset = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Add N to the labels, e.g. 1 for a model with a background class 0.", rich_help_panel=MODEL
    ),
]
AllowCode = Annotated[
    bool | None,
    typer.Option("--allow-code", help="Run code of the file that is not on the allow-list.", rich_help_panel=MODEL),
]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SHA256", help="Run code of the model file with this SHA-256; repeatable.", rich_help_panel=MODEL
    ),
]
ModelArg = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Passed to timm or to the factory; repeatable.", rich_help_panel=MODEL),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:PART]|FOLDER|FILE.npz",
        help="Images and labels; of a named set the test part, or its training images as NAME:train.",
        rich_help_panel=DATA,
        autocompletion=completion.data,
    ),
]
ClassOrder = Annotated[
    str | None,
    typer.Option(
        metavar="numeric|text|wnid|FILE",
        help="How class names count; FILE lists them in the model's order.",
        rich_help_panel=DATA,
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE.yaml", help="Settings; options go before them.", autocompletion=completion.profiles
    ),
]
Seed = Annotated[int | None, typer.Option(help="Everything random follows from it.", rich_help_panel=RUN)]
Device = Annotated[str | None, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.", rich_help_panel=RUN)]
Threads = Annotated[
    int | None, typer.Option(help="CPU threads; default: chosen by a short trial.", rich_help_panel=RUN)
]


def given(**values: Any) -> dict[str, Any]:
    """The options that were really given, as raw settings: paths become text, None is left out."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items() if value is not None}


def numbers(option: str, text: str | None) -> list[float] | None:
    """Comma-separated numbers; fractions such as 125.3/255 are allowed.

    Raises:
        UsageError: one of them is not a number.
    """
    if text is None:
        return None
    try:
        return [_number(part) for part in text.split(",")]
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{option} {text} is not a list of numbers", "write it as .485,.456,.406") from None


def number(option: str, text: str) -> float:
    """One number.

    Raises:
        UsageError: it is none.
    """
    try:
        return _number(text)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{option} {text} is not a number", f"e.g. {option} 100") from None


def _number(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    return float(numerator) / float(denominator) if denominator else float(numerator)


def words(items: Sequence[str] | None) -> list[str] | None:
    """Values of a repeatable option that may also hold commas; None when it was not given."""
    return [part.strip() for item in items for part in item.split(",") if part.strip()] if items else None


def arguments(items: Sequence[str] | None) -> Mapping[str, str | int | float | bool] | None:
    """KEY=VALUE pairs; a value that reads as a number or true/false becomes one.

    Raises:
        UsageError: no `=` in it.
    """
    if not items:
        return None
    pairs = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"--model-arg {item} is not KEY=VALUE", "e.g. --model-arg pad_type=same")
        pairs[key] = _literal(value)
    return pairs


def _literal(text: str) -> str | int | float | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
