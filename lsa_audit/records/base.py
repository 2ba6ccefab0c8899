"""What all records are built from."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Norm = Literal["linf", "l2", "l1"]
Level = Literal["note", "warning", "error"]


class Record(BaseModel):
    """Base of all records: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Skipped(Record):
    """Something that was asked for and could not be measured."""

    what: str = Field(description="what is missing, e.g. 'layer layer1.0.add'")
    reason: str = Field(description="a short stable code, e.g. 'batch-dimension-unknown'")
    detail: str = Field(description="one sentence for a person")


class Estimate(Record):
    """A share of images with its 95 % Wilson interval."""

    count: int
    total: int
    value: float
    low: float
    high: float
