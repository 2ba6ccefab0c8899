"""What got better and worse between two runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from . import Finding
from .base import Record, Skipped
from .repair import Change
from .subject import LabelSource

DIFF_VERSION = 1
CLASS_IMAGES = 10
"""With fewer images of a class nothing short of all of them falling could show in a table of ten classes."""

Trend = Literal["better", "worse", "no-difference-shown"]
Rests = Literal["clean", "ball", "attack", "noise"]
NamedBy = Literal["image-id", "digest", "row"]


class ComparedRun(Record):
    """One of the two runs."""

    name: str = Field(description="what it is called, without its folder's path")
    kind: Literal["run", "baseline"]
    subject: str | None = Field(description="the model as it was named on the command line")
    model: str
    data: str
    started_at: str
    tool_version: str
    images: int
    doubts: tuple[str, ...] = Field(description="rules of attack health that say that its attacks cannot be relied on")


class Unlike(Record):
    """Something in which the runs differ."""

    what: str
    before: str
    after: str


class ShareChange(Change):
    """A share of right images before and after, on the images that both runs have."""

    p_adjusted: float = Field(description="Holm over the rows of its table")
    trend: Trend


class AccuracyChange(ShareChange):
    """Without attack, under every attack in a ball, or under one perturbation; `id` names it."""

    kind: Rests
    attacks: tuple[str, ...] = Field(default=(), description="of a ball: ids of the attacks that both runs share")


class ClassChange(ShareChange):
    """The images of one class; `id` is its name, or its number where the data names none."""

    label: int


class ClassTable(Record):
    """The classes under one condition."""

    under: str = Field(description="`clean`, or what leaves the fewest images right: a ball, or its only attack")
    classes: tuple[ClassChange, ...]
    left_out: int = Field(description="classes with too few images")


class FlippedImages(Record):
    """Images whose verdict is another one after."""

    under: str = Field(description="`clean`, or what leaves the fewest images right: a ball, or its only attack")
    newly_wrong: int
    newly_right: int
    wrong_images: tuple[str, ...] = Field(description="the first of them, in the order of the run after")
    right_images: tuple[str, ...]


class LayerChange(Record):
    """How far one layer moves before and after."""

    layer: str
    before: float | None = Field(description="mean of the measure; None where it could not be computed")
    after: float | None
    difference: float | None = Field(description="after minus before; above 0: it moves further, which is worse")
    low: float | None = Field(description="95 % interval of the difference, Student's t over pairs; None without pairs")
    high: float | None
    p_adjusted: float | None = Field(description="paired t test of no difference, Holm over the layers; None: no pairs")
    trend: Trend | None = Field(description="None without pairs: then the means alone say nothing of chance")
    in_mvl_before: bool
    in_mvl_after: bool


class LayerTable(Record):
    """The layers that both runs have, under one perturbation, in the order of execution."""

    perturbation: str
    measure: str
    paired: bool = Field(description="whether the single images of both runs are known; else: means of each whole run")
    lists_compared: bool = Field(description="whether eta is the same, which the lists of vulnerable layers depend on")
    mvl_before: tuple[str, ...] = Field(description="most vulnerable layers, layers that only one run has included")
    mvl_after: tuple[str, ...]
    layers: tuple[LayerChange, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


class NeuronChange(Record):
    """Fragile neurons of a layer on all clean images of each run; None: none were dropped there."""

    layer: str
    fragile_before: int | None
    fragile_after: int | None
    neurons_before: int | None
    neurons_after: int | None


class FindingChanges(Record):
    """Findings by rule, level and subject."""

    new: tuple[Finding, ...]
    gone: tuple[Finding, ...]
    same: int


class SkippedChanges(Record):
    """Things that could not be measured, by what and why."""

    new: tuple[Skipped, ...]
    gone: tuple[Skipped, ...]
    same: int


class RunDiff(Record):
    """Two runs, before and after, as far as they can be compared."""

    diff_version: int = DIFF_VERSION
    tool_version: str
    before: ComparedRun
    after: ComparedRun
    images: int = Field(description="that both runs have: all shares rest on them")
    label_source: LabelSource
    not_compared: tuple[Unlike, ...] = Field(description="what only one run has, or what was done in another way")
    accuracy: tuple[AccuracyChange, ...] = Field(description="clean first, balls of several attacks, then each one")
    classes: tuple[ClassTable, ...]
    classes_unknown: str | None = Field(description="why there are no classes; None: there are")
    flipped: tuple[FlippedImages, ...]
    named_by: NamedBy = Field(description="what the names of flipped images are")
    layers: tuple[LayerTable, ...]
    neurons: tuple[NeuronChange, ...]
    findings: FindingChanges
    skipped: SkippedChanges
    differences: tuple[Unlike, ...] = Field(
        description="of model, data, labels and environment; nothing is wrong in it"
    )
    environment_known: bool = Field(description="of both runs; a baseline does not keep it")

    @property
    def accuracy_name(self) -> str:
        """What the share of right images is called: against the model's own predictions it is not an accuracy."""
        return "accuracy" if self.label_source == "dataset" else "prediction stability"
