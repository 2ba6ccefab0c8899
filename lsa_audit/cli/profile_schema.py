"""Profiles as they are written: where YAML may say something shorter than what the settings become."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..settings.gates import GATES, PRESETS, Gate, GateLevel
from ..settings.profile import DEFAULT_ATTACKS, AttackSettings, Profile

Distance = Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=r"^[0-9.eE+/, -]+$")]
Level = GateLevel | Literal[False]
"""YAML reads a bare `off` as false."""


def _one_of_the_presets(field: dict[str, Any]) -> None:
    del field["default"]
    field["enum"] = list(PRESETS)


class WrittenGates(BaseModel):
    """Gates by their keys, `NAME` or `NAME@TARGET`; those of a preset go after them."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"propertyNames": {"pattern": rf"^(preset|({'|'.join(GATES)})(@[\s\S]*)?)$"}},
    )
    __pydantic_extra__: dict[str, Level | tuple[Level] | tuple[Level, Gate] | Gate]

    preset: str = Field(default="", json_schema_extra=_one_of_the_presets)


class WrittenAttack(AttackSettings):
    """An attack with its distances as they are written."""

    epsilon: tuple[Distance, ...] | Distance | None = None  # type: ignore[assignment]
    step_size: Distance | None = None  # type: ignore[assignment]


class WrittenProfile(Profile):
    """A profile with what may be written shorter in it."""

    attacks: tuple[str | WrittenAttack, ...] = Field(default=tuple(DEFAULT_ATTACKS), min_length=1)  # type: ignore[assignment]
    epsilon: Annotated[tuple[Distance, ...], Field(min_length=1)] | Distance = Profile.model_fields["epsilon"].default  # type: ignore[assignment]
    gates: WrittenGates | None = None  # type: ignore[assignment]
