"""What a profile says of gates: which figures a run must keep, how strictly, and which failures are waived. Data only.

A gate is written `NAME` or `NAME@TARGET`: a name of `GATES`, and a pattern (`*`, `?`) of what it looks at.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from ..records.gating import LimitName

GateLevel = Literal["off", "warn", "error"]

COMPARATIVE: frozenset[LimitName] = frozenset({"max_drop", "max_rise", "no_new"})
"""Limits that take a baseline."""

ALPHA = 0.05
MOST_GATES = 1_000
"""Of a profile; more would only cost time."""


@dataclass(frozen=True)
class GateKind:
    """One kind of gate.

    Attributes:
        limits: what may be limited.
        target: what `@TARGET` chooses, in words; empty where there is nothing to choose.
        summary: one sentence.
        under: whether `under: PERTURBATION` may be said.
    """

    limits: tuple[LimitName, ...]
    target: str
    summary: str
    under: bool = False


GATES: dict[str, GateKind] = {
    "clean_accuracy": GateKind(("min", "max_drop"), "", "Share of the images that are right without attack."),
    "robust_accuracy": GateKind(
        ("min", "max_drop"),
        "a ball such as linf-8/255, where the strongest attack on each image counts, or one perturbation by its id",
        "Share of the images that stay right under every attack in a ball.",
    ),
    "relative_error": GateKind(
        ("max", "max_rise"), "a layer", "Mean relative error of a layer under attack.", under=True
    ),
    "mvl": GateKind(("no_new", "max"), "a layer", "The list of most vulnerable layers.", under=True),
    "fragile_neurons": GateKind(("max", "max_rise"), "a layer", "Number of fragile neurons of a layer."),
    "attack_health": GateKind(("max",), "a finding's id", "Warnings and errors on whether the attacks worked."),
    "skipped": GateKind(("max", "no_new"), "what was skipped", "Things that could not be measured."),
}


class Gate(BaseModel):
    """One gate; every limit that is given is checked by itself.

    Attributes:
        min: lowest share, 0..1.
        max: highest mean, or highest count.
        max_drop: by how much the share may lie below the baseline's, 0..1.
        max_rise: by how much the mean or the count may lie above the baseline's.
        no_new: whether what the baseline does not have is a failure.
        alpha: error rate of each decision, with a correction for the number of decisions.
        under: id of the perturbation under which layers are looked at; None: the last attack that measured them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    level: GateLevel = "error"
    min: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    max: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    max_drop: float | None = Field(default=None, ge=0, lt=1, allow_inf_nan=False)
    max_rise: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    no_new: bool = False
    alpha: float = Field(default=ALPHA, gt=0, lt=0.5)
    under: str | None = Field(default=None, min_length=1)

    @property
    def limits(self) -> dict[LimitName, float]:
        """The limits that are given; 0 stands for `no_new`."""
        named = {name: getattr(self, name) for name in get_args(LimitName) if name != "no_new"}
        given = {name: value for name, value in named.items() if value is not None}
        return given | ({"no_new": 0.0} if self.no_new else {})


class Waiver(BaseModel):
    """A failure that is accepted until a day.

    Attributes:
        gate: id of the check, or a pattern of ids.
        expires: the last day on which it holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    gate: str = Field(min_length=1)
    reason: str = Field(min_length=1, pattern=r"\S")
    expires: date


PRESETS: dict[str, dict[str, Any]] = {
    "default": {
        "clean_accuracy": ["error", {"max_drop": 0.02}],
        "robust_accuracy": ["error", {"max_drop": 0.02}],
        "attack_health": ["error", {"max": 0}],
        "skipped": ["error", {"max": 0}],
    },
    "strict": {
        "clean_accuracy": ["error", {"max_drop": 0.01}],
        "robust_accuracy": ["error", {"max_drop": 0.01}],
        "mvl": ["error", {"no_new": True}],
        "fragile_neurons": ["warn", {"max_rise": 0}],
        "attack_health": ["error", {"max": 0}],
        "skipped": ["error", {"max": 0}],
    },
    "warn": {
        "clean_accuracy": ["warn", {"max_drop": 0.02}],
        "robust_accuracy": ["warn", {"max_drop": 0.02}],
        "attack_health": ["warn", {"max": 0}],
        "skipped": ["warn", {"max": 0}],
    },
}
"""Gates by the name that `preset` takes; without a `gates` section those of `default` apply."""


def _entry(value: Any) -> Any:
    """`error`, `off`, `[error, {min: 0.9}]` or a mapping, as a mapping. YAML reads a bare `off` as false."""
    if value is False or isinstance(value, str):
        return {"level": value or "off"}
    if isinstance(value, list) and len(value) in (1, 2):
        level, options = value[0], value[1] if len(value) == 2 else {}
        if isinstance(options, Mapping) and "level" not in options:
            return {"level": level or "off", **options}
    if isinstance(value, Gate | Mapping):
        return value
    raise ValueError("write [LEVEL, {LIMIT: VALUE}], where LEVEL is off, warn or error")


def _with_preset(value: Any) -> Any:
    """The gates of `preset`, which the others go before."""
    if not isinstance(value, Mapping) or "preset" not in value:
        return value
    rest = {key: entry for key, entry in value.items() if key != "preset"}
    name = value["preset"]
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    return {**PRESETS[name], **rest}


def split(key: str) -> tuple[str, str]:
    """Name and target of a gate's key; without a target everything is looked at.

    >>> split("relative_error@layer4.*"), split("skipped")
    (('relative_error', 'layer4.*'), ('skipped', '*'))
    """
    name, _, target = key.partition("@")
    return name, target or "*"


def _problems(key: str, gate: Gate) -> list[str]:
    name, target = split(key)
    if name not in GATES:
        near = difflib.get_close_matches(name, GATES, n=1)
        return [f"{key} is no gate{f' (did you mean {near[0]}?)' if near else ''}; there are {', '.join(GATES)}"]
    kind, found = GATES[name], []
    if target != "*" and not kind.target:
        found.append(f"{key}: {name} takes no target")
    if unknown := [limit for limit in gate.limits if limit not in kind.limits]:
        found.append(f"{key} takes no {', '.join(unknown)}; it takes {', '.join(kind.limits)}")
    if gate.under is not None and not kind.under:
        found.append(f"{key} takes no under")
    if gate.level != "off" and not gate.limits:
        found.append(f"{key} limits nothing; it takes {', '.join(kind.limits)}")
    return found


def _few(value: Any) -> Any:
    if isinstance(value, Mapping) and len(value) > MOST_GATES:
        raise ValueError(f"{len(value):,} gates are more than {MOST_GATES:,}")
    return value


def _fitting(gates: dict[str, Gate]) -> dict[str, Gate]:
    problems = [problem for key, gate in gates.items() for problem in _problems(key, gate)]
    if problems:
        raise ValueError("; ".join(problems))
    return gates


GateMapping = Annotated[
    dict[str, Annotated[Gate, BeforeValidator(_entry)]],
    BeforeValidator(_with_preset),
    BeforeValidator(_few),
    AfterValidator(_fitting),
]
"""The gates of a profile by their keys, those of a `preset` included."""


def preset(name: str) -> dict[str, Gate]:
    """The gates of a preset."""
    return TypeAdapter(GateMapping).validate_python(PRESETS[name])
