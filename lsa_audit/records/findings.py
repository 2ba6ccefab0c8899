"""What the rules found, and which of them were asked at all."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Level, Record

FindingGroup = Literal["result", "attack-health"]
Outcome = Literal["ran", "not-applicable", "not-run"]


class Finding(Record):
    """What a reader should know or do, drawn from the measurements by one rule."""

    rule: str = Field(description="stable id; `lsa-audit explain ID` tells what it means")
    group: FindingGroup = Field(
        default="result", description="attack-health: whether the attacks worked at all; result: what they found"
    )
    level: Level
    subject: str = Field(description="the layer, neuron, attack or input that it is about")
    message: str


class Check(Record):
    """One rule as it was asked of this run: an older record lacks the rules that it never met."""

    rule: str = Field(description="the id of the rule, as in its findings")
    version: int = Field(description="rises when the rule judges otherwise")
    group: FindingGroup = "result"
    outcome: Outcome
    reason: str = Field(default="", description="why it does not apply, or was not run")
    level: Level | None = Field(default=None, description="the gravest of its findings; None: it found nothing")
    findings: int = 0
    subject: str = Field(default="", description="id of the perturbation with the worst figure; empty: the model")
    seen: str = Field(default="", description="that figure in words")
    by: str = Field(default="", description="id of the perturbation, or name of the member, that outdid the subject")
    figure: float | None = Field(default=None, description="the worst figure, a share or a number; None: it has none")
    limit: float | None = Field(default=None, description="what the figure is held against, where that is one number")
