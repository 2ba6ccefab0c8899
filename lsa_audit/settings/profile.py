"""Settings: YAML or command-line values in, one frozen Profile out, every mistake at once. Data, never code."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from ..errors import ProfileError, UnsafeError, UsageError
from ..records import ChannelOrder, InputLayout, Interpolation, Norm
from ..units import parse_epsilon
from .gates import MOST_GATES, Gate, GateMapping, Waiver
from .limits import Count, Limits
from .plain_yaml import PlainYamlError, read_mapping

Measure = Literal["relative-error", "l2", "cosine", "linf", "batch-relative-error"]


def _number(value: Any) -> Any:
    """Accept `8/255` wherever a distance in pixel units is meant."""
    if isinstance(value, str):
        try:
            return parse_epsilon(value, norm="l2")
        except UsageError as error:
            raise ValueError(str(error)) from None
    return value


def _listed(value: Any) -> Any:
    """Accept one distance, or several with commas in one text, where a list of them is meant."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    # Strict tuples take a list from JSON, and from a validator only a tuple.
    return tuple(value) if isinstance(value, list) else value


DEFAULT_ATTACKS = ["fgsm", "pgd", "cascade"]

Distance = Annotated[float, BeforeValidator(_number), Field(ge=0, allow_inf_nan=False)]
Distances = Annotated[tuple[Distance, ...], Field(min_length=1), BeforeValidator(_listed)]
CODE_FREE = ("hf_hub:", "hf-hub:", "local-dir:")
"""What stands before a colon in the name of a timm model; any other colon is that of a factory."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AttackSettings(_Settings):
    """One attack; what is not given comes from the profile (norm, epsilon) or from the catalogue (steps)."""

    name: str
    norm: Norm | None = None
    epsilon: Distances | None = None
    steps: Count | None = None
    step_size: Distance | None = None
    restarts: Count = 1
    layer: str | None = Field(default=None, min_length=1, description="for layer-pgd: the layer that it moves")


class Profile(_Settings):
    """Everything that decides what a scan does. Defaults are those of `standard`."""

    data: str | None = Field(default=None, description="name, folder or .npz file")
    samples: Count | None = Field(default=1000, description="seeded, class-balanced; null takes all images")
    slice: str | None = Field(default=None, pattern=r"^\d*:\d*$", description="START:STOP in the data's own order")
    labels: Literal["auto", "dataset", "self"] = "auto"
    class_order: str | None = Field(
        default=None,
        min_length=1,
        description="how class names count: numeric, text, wnid, or a file with the names in the model's order",
    )
    data_root: str | None = None
    offline: bool = False

    arch: str | None = Field(default=None, description="what a checkpoint file is for: a timm name or a factory")
    checkpoint: str | None = None
    weights: str | None = Field(
        default=None, min_length=1, description="of several in a checkpoint: ema, raw or a name; null: EMA if there"
    )
    random_weights: bool = False
    mean: tuple[float, ...] | None = Field(default=None, min_length=1)
    std: tuple[float, ...] | None = Field(default=None, min_length=1)
    input_size: str | None = Field(default=None, pattern=r"^\d+(x\d+){0,2}$", description="CxHxW")
    crop: float | None = Field(default=None, gt=0, le=1, description="share of a photo's short side that is kept")
    interpolation: Interpolation | None = Field(default=None, description="with which images are resized")
    layout: InputLayout | None = Field(default=None, description="how the network wants an image")
    channel_order: ChannelOrder | None = Field(default=None, description="of the network's channels; null: rgb")
    classes: int | None = Field(default=None, ge=2, description="that the model must have")
    logits: str | None = Field(default=None, min_length=1, description="name or index of the output with the logits")
    outputs_are: Literal["logits", "probabilities"] | None = Field(
        default=None, description="where neither the graph nor the values tell"
    )
    label_offset: int | None = Field(
        default=None, ge=-1000, le=1000, description="added to the labels; 1 for a background class 0 in the model"
    )
    allow_code: bool = False
    trusted: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = Field(
        default=(), description="sha256 of model files whose code may run"
    )
    limits: Limits = Limits()
    model_args: dict[str, str | int | float | bool] = Field(default_factory=dict)

    attacks: tuple[AttackSettings, ...] = Field(
        default=tuple(AttackSettings(name=name) for name in DEFAULT_ATTACKS), min_length=1
    )
    noises: tuple[str, ...] = ("gaussian", "uniform", "salt", "pepper", "speckle")
    norm: Norm = "linf"
    epsilon: Distances = (2 / 255, 8 / 255)

    layers: str = Field(default="learnable", min_length=1)
    measure: Measure = "relative-error"
    eta: float = Field(default=0.8, ge=0, allow_inf_nan=False)
    neurons: str = Field(default="all", min_length=1)
    budget: float | None = Field(
        default=100.0, gt=0, allow_inf_nan=False, description="whole forwards an image for dropping; null: no limit"
    )
    drop_value: Literal["zero", "mean"] = "zero"
    probes: tuple[Literal["patching", "filters"], ...] = ("patching",)
    filter_samples: Count = Field(default=100, description="images that the synaptic filters are tried on")

    gates: GateMapping | None = Field(default=None, description="what `gate` checks; null: the preset default")
    waivers: tuple[Waiver, ...] = Field(default=(), max_length=MOST_GATES)

    seed: int = Field(default=0, ge=0, lt=2**63)
    batch_size: Count | None = Field(default=None, description="null: see runtime.default_batch_size")
    precision: Literal["float32", "bf16", "fp16"] = Field(
        default="float32", description="of the attacks' queries; verdicts are always float32"
    )
    compile: bool = False
    save_adversarials: bool = False
    gallery: int = Field(default=8, ge=0, le=64, description="flipped images that the report and the evidence hold")
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Count | None = None

    @field_validator("attacks")
    @classmethod
    def _known_attacks(cls, attacks: tuple[AttackSettings, ...], info: ValidationInfo) -> tuple[AttackSettings, ...]:
        _check_names([attack.name for attack in attacks], (info.context or {}).get("attacks"))
        return attacks

    @field_validator("noises")
    @classmethod
    def _known_noises(cls, noises: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        _check_names(noises, (info.context or {}).get("noises"))
        return noises

    @field_validator("std")
    @classmethod
    def _positive(cls, std: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if std and min(std) <= 0:
            raise ValueError("every entry must be above 0")
        return std


def _check_names(names: Collection[str], known: Collection[str] | None) -> None:
    for name in names:
        if known is not None and name not in known:
            raise ValueError(f"{name!r} is not known{_nearest(name, known)}; there are {', '.join(known)}")


INNER: dict[str, type[BaseModel]] = {"limits": Limits, "gates": Gate, "waivers": Waiver}


def build(sources: Mapping[str, Mapping[str, Any]], attacks: Collection[str], noises: Collection[str]) -> Profile:
    """One Profile from several sources.

    Args:
        sources: name of the source -> its raw values, lowest precedence first.
        attacks, noises: the names that exist.

    Raises:
        ProfileError: unknown keys, wrong types, values out of range; all of them in one message, with their source.
    """
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for source, values in sources.items():
        merged.update(values)
        origin.update(dict.fromkeys(values, source))
    if isinstance(merged.get("attacks"), list | tuple):
        merged["attacks"] = [{"name": entry} if isinstance(entry, str) else entry for entry in merged["attacks"]]
    if isinstance(merged.get("waivers"), list):
        merged["waivers"] = [_with_days(entry) for entry in merged["waivers"]]
    _refuse_surrogates(merged, origin)
    try:
        content = json.dumps(merged, default=_plain)
        return Profile.model_validate_json(content, context={"attacks": attacks, "noises": noises})
    except ValidationError as error:
        problems = [_problem(entry, origin) for entry in _causes(error.errors(include_url=False))]
        raise ProfileError(
            "; ".join(dict.fromkeys(problems)), "`lsa-audit init` writes a profile with every key"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ProfileError(f"a value is not plain data: {error}") from None


def _plain(value: Any) -> Any:
    """Numbers of NumPy and torch, and paths, as Python callers have them.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no number, text, list or mapping")


def _refuse_surrogates(values: Mapping[str, Any], origin: Mapping[str, str]) -> None:
    """File systems take names that are no text, and JSON, which a record is, does not."""
    for key, value in values.items():
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            raise ProfileError(f"{origin[key]}: {key} is no UTF-8 text", "rename the file, or give a link") from None


def _causes(errors: Sequence[Any]) -> list[Any]:
    """Without a list that is too short only because its entries are wrong."""
    places = [entry["loc"] for entry in errors]
    inside = {place[:-1] for place in places}
    return [entry for entry in errors if entry["type"] != "too_short" or entry["loc"] not in inside]


def _with_days(waiver: Any) -> Any:
    """YAML reads a day as a date; here alone that is meant."""
    if not isinstance(waiver, dict):
        return waiver
    return {key: value.isoformat() if type(value) is date else value for key, value in waiver.items()}


def _problem(entry: Any, origin: Mapping[str, str]) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in entry["loc"]).lstrip(".")
    source = origin.get(str(entry["loc"][0]), "profile") if entry["loc"] else "profile"
    if entry["type"] == "extra_forbidden":
        inner = INNER.get(str(entry["loc"][0]), AttackSettings)
        known = inner.model_fields if len(entry["loc"]) > 1 else Profile.model_fields
        return f"{source}: {where} is not a setting{_nearest(str(entry['loc'][-1]), known)}"
    message = entry["msg"].removeprefix("Value error, ")
    return f"{source}: {where}: {message[:1].lower()}{message[1:]}"


def _nearest(name: str, known: Collection[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def presets() -> dict[str, Path]:
    """The shipped profiles by name."""
    packaged = Path(__file__).parent.parent / "_profiles"
    folder = packaged if packaged.is_dir() else Path(__file__).parent.parent.parent / "profiles"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read(name_or_path: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The raw values of a preset or of a YAML file.

    Args:
        given: what the caller says besides, where code may run: a file alone never lets any run.

    Raises:
        ProfileError: no such preset or file, not a YAML mapping, aliases or repeated keys in it, or above 1 MiB.
        UnsafeError: the file asks to run code, and `given` does not.
    """
    known = presets()
    path = known.get(name_or_path, Path(name_or_path))
    if not _is_file(path):
        hint = f"presets are {', '.join(known)}{_nearest(name_or_path, known)}"
        raise ProfileError(f"profile {name_or_path} is neither a preset nor a file", hint)
    try:
        values = read_mapping(path)
    except PlainYamlError as error:
        raise ProfileError(f"profile {path.name}: {error}", "write `key: value` lines") from None
    if given is not None and not given.get("allow_code"):
        _refuse_code(path.name, values, given)
    return values


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _refuse_code(name: str, values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """A profile may be somebody else's; what it says of code counts only where the caller says it too."""
    arch = values.get("arch")
    if isinstance(arch, str) and ":" in arch and not arch.startswith(CODE_FREE) and "arch" not in given:
        raise UnsafeError(f"profile {name} names code to run, arch: {arch}", f"if you trust it, give --arch {arch}")
    if values.get("allow_code") and "allow_code" not in given:
        raise UnsafeError(f"profile {name} lets code of model files run", "if you trust them, give --allow-code")
    if values.get("trusted") and "trusted" not in given:
        hint = "if you trust them, give --trust SHA256 for each"
        raise UnsafeError(f"profile {name} lets code of the model files under `trusted` run", hint)
