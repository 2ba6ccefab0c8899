"""The frozen result types that travel between stages and into `record.json`. No tensors, no torch.

Fractions lie in 0..1, epsilons are in pixel units, durations in seconds. A number that could not be computed is `None`;
a thing that could not be measured is a `Skipped`, which every report shows.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .attacks import (
    AttackResult,
    AttackSigns,
    AttackStage,
    Comparison,
    Distances,
    ModelHealth,
    Perturbation,
    Suspicion,
    Sweep,
    UnboundedTrial,
)
from .base import Estimate, Level, Norm, Record, Skipped
from .filters import FilterCurve, FilteredWeights, FilterName, Filters
from .gallery import ClassScore, Flipped
from .layers import (
    GraphInfo,
    LayerInfo,
    LayerKind,
    LayerMeasure,
    Sustainability,
)
from .neurons import Correlation, DropEffect, Neuron, NeuronClass, NeuronTable, Screening
from .patching import PatchedGroup, PatchedLayer, PatchedNeurons, Patching
from .plausibility import Alternative, Plausibility
from .subject import ChannelOrder, Conversion, DataInfo, InputLayout, LabelInfo, LabelSource, ModelInfo, ModelSource

__all__ = [
    "SCHEMA_VERSION",
    "Alternative",
    "AttackResult",
    "AttackSigns",
    "AttackStage",
    "AuditRecord",
    "ChannelOrder",
    "ClassScore",
    "Comparison",
    "Conversion",
    "Correlation",
    "DataInfo",
    "Distances",
    "DropEffect",
    "Environment",
    "Estimate",
    "FilterCurve",
    "FilterName",
    "FilteredWeights",
    "Filters",
    "Finding",
    "FindingGroup",
    "Flipped",
    "GraphInfo",
    "InputLayout",
    "LabelInfo",
    "LabelSource",
    "LayerInfo",
    "LayerKind",
    "LayerMeasure",
    "Level",
    "ModelHealth",
    "ModelInfo",
    "ModelSource",
    "Neuron",
    "NeuronClass",
    "NeuronTable",
    "Norm",
    "PatchedGroup",
    "PatchedLayer",
    "PatchedNeurons",
    "Patching",
    "Perturbation",
    "Plausibility",
    "Record",
    "Screening",
    "Skipped",
    "Suspicion",
    "Sustainability",
    "Sweep",
    "Timing",
    "UnboundedTrial",
]

SCHEMA_VERSION = 3

FindingGroup = Literal["result", "attack-health"]


class Finding(Record):
    """What a reader should know or do, drawn from the measurements by one rule."""

    rule: str = Field(description="stable id; `lsa-audit explain ID` tells what it means")
    group: FindingGroup = Field(
        default="result", description="attack-health: whether the attacks worked at all; result: what they found"
    )
    level: Level
    subject: str = Field(description="the layer, neuron, attack or input that it is about")
    message: str


class Environment(Record):
    """What the figures were computed with."""

    python: str
    platform: str
    device: str
    threads: int
    precision: str
    deterministic: bool
    packages: dict[str, str]
    notes: tuple[str, ...] = ()


class Timing(Record):
    """The only fields that differ between two runs with the same seed on the same machine."""

    started_at: str
    duration_s: float
    stages_s: dict[str, float]


class AuditRecord(Record):
    """Everything that one scan found; `record.json` is this and nothing else."""

    schema_version: int = SCHEMA_VERSION
    tool_version: str
    subject: str | None = Field(
        default=None, description="the model as it was named on the command line; None for a module in memory"
    )
    model: ModelInfo
    data: DataInfo
    labels: LabelInfo
    settings: dict[str, Any]
    environment: Environment
    clean: Estimate
    attacks: tuple[AttackResult, ...]
    sweeps: tuple[Sweep, ...] = ()
    health: ModelHealth | None = None
    plausibility: Plausibility | None = Field(
        default=None, description="other readings of images and labels; None: not tried, or the labels are the model's"
    )
    graph: GraphInfo
    sustainability: tuple[Sustainability, ...]
    neurons: tuple[NeuronTable, ...]
    screening: Screening | None = None
    patching: Patching | None = None
    filters: Filters | None = None
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    gallery: tuple[Flipped, ...] = Field(default=(), description="images that an attack flipped, for people to look at")
    timing: Timing

    @property
    def accuracy_name(self) -> str:
        """What the share of right images is called: against the model's own predictions it is not an accuracy."""
        return "accuracy" if self.labels.source == "dataset" else "prediction stability"

    @property
    def inconclusive(self) -> bool:
        """Whether a finding says that the robustness figures cannot be relied on."""
        return any(finding.group == "attack-health" and finding.level == "error" for finding in self.findings)
