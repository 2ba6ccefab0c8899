"""What came of scaling fragile neurons up and robust ones down."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from . import Environment, Timing
from .attacks import Perturbation
from .base import Estimate, Record, Skipped
from .subject import DataInfo, LabelInfo, ModelInfo

REPAIR_VERSION = 1

Outcome = Literal["helped", "not-helped", "harmed", "masked", "nothing-chosen"]


class Strengths(Record):
    """How strongly neurons are scaled: `1 + fragile * f` and `1 - robust * r`, f and r in 0..1."""

    fragile: float
    robust: float


class TriedStrengths(Record):
    """One pair of strengths, tried on the images that choose."""

    strengths: Strengths
    change: float = Field(description="mean of |scale - 1| over all neurons of the scaled layers")
    clean: Estimate
    robust: Estimate | None = Field(description="under the choice attack; None where too much clean accuracy was lost")


class ScaledLayer(Record):
    """One layer and what its neurons are scaled by."""

    layer: str
    weight: str = Field(description="the weight that holds the scales, e.g. `bn1.weight`")
    fragile: int
    robust: int
    null: int
    scales: tuple[float, ...] = Field(description="of each neuron, with the chosen strengths; 1 leaves it as it was")
    rounded_to: tuple[str, ...] = Field(
        default=(), description="shorter types, e.g. float16, in which the file keeps the weights; judged as rounded"
    )


class Change(Record):
    """The same images before and after, on the images that judge."""

    id: str = Field(description="`clean`, or the id of the attack")
    before: Estimate
    after: Estimate
    gained: int = Field(description="images wrong before and right after")
    lost: int = Field(description="images right before and wrong after")
    difference: float = Field(description="after minus before, 0..1")
    low: float = Field(description="95 % interval of the difference, adjusted Wald for pairs")
    high: float
    p_value: float = Field(description="exact two-sided McNemar test")


class RepairedFile(Record):
    """The file of the repaired model, which was loaded again before it was written."""

    name: str
    sha256: str
    difference: float = Field(description="largest difference of its logits from those judged, relative")


class Repair(Record):
    """One repair: the choice of the strengths, the verdict on other images, and the file that was written."""

    repair_version: int = REPAIR_VERSION
    tool_version: str
    subject: str = Field(description="the model as it was named on the command line")
    model: ModelInfo = Field(description="before")
    labels: LabelInfo
    choosing: DataInfo = Field(description="the images that choose the strengths; the scan did not use them")
    judging: DataInfo = Field(description="the images that give the verdict; neither the scan nor the choice used them")
    scanned_sha256: str = Field(description="of the data of the scan")
    attacks: tuple[Perturbation, ...] = Field(description="the first one chooses, all of them judge")
    max_clean_drop: float
    seed: int
    layers: tuple[ScaledLayer, ...]
    skipped: tuple[Skipped, ...] = Field(description="layers that were left alone, and why")
    candidates: tuple[TriedStrengths, ...]
    chosen: Strengths
    changes: tuple[Change, ...] = Field(description="clean first; empty where nothing was chosen")
    outcome: Outcome
    file: RepairedFile | None = Field(description="None where none was written")
    environment: Environment
    timing: Timing

    @property
    def accuracy_name(self) -> str:
        """What the share of right images is called, as in a scan."""
        return "accuracy" if self.labels.source == "dataset" else "prediction stability"
