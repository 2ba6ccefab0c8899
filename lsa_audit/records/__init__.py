"""The frozen result types that travel between stages and into `record.json`. No tensors, no torch.

Fractions lie in 0..1, epsilons are in pixel units, durations in seconds. A number that could not be computed is `None`;
a thing that could not be measured is a `Skipped`, which every report shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from .attacks import (
    AttackResult,
    AttackSigns,
    AttackStage,
    Comparison,
    Distances,
    ModelHealth,
    Perturbation,
    SlopeTrial,
    Suspicion,
    Sweep,
    UnboundedTrial,
)
from .base import Estimate, Level, Norm, Record, Skipped
from .filters import FilterCurve, FilteredWeights, FilterName, Filters
from .findings import Check, Finding, FindingGroup, Outcome
from .gallery import ClassScore, Flipped
from .layers import GraphCheck, GraphInfo, LayerInfo, LayerKind, LayerMeasure, Sustainability
from .neurons import Correlation, DropEffect, EffectColumns, Neuron, NeuronClass, NeuronColumns, NeuronTable, Screening
from .patching import PatchedGroup, PatchedLayer, PatchedNeurons, Patching
from .plausibility import Alternative, Plausibility
from .subject import (
    ChannelOrder,
    Conversion,
    DataInfo,
    DecidedBy,
    InputLayout,
    Interpolation,
    LabelInfo,
    LabelSource,
    LogitsAre,
    ModelInfo,
    ModelSource,
    OutputInfo,
    OutputKind,
)

__all__ = [
    "SCHEMA_VERSION",
    "Alternative",
    "AttackResult",
    "AttackSigns",
    "AttackStage",
    "AuditRecord",
    "ChannelOrder",
    "Check",
    "ClassScore",
    "Comparison",
    "Conversion",
    "Correlation",
    "DataInfo",
    "DecidedBy",
    "Distances",
    "DropEffect",
    "EffectColumns",
    "Environment",
    "Estimate",
    "FilterCurve",
    "FilterName",
    "FilteredWeights",
    "Filters",
    "Finding",
    "FindingGroup",
    "Flipped",
    "GraphCheck",
    "GraphInfo",
    "InputLayout",
    "Interpolation",
    "LabelInfo",
    "LabelSource",
    "LayerInfo",
    "LayerKind",
    "LayerMeasure",
    "Level",
    "LogitsAre",
    "ModelHealth",
    "ModelInfo",
    "ModelSource",
    "Neuron",
    "NeuronClass",
    "NeuronColumns",
    "NeuronTable",
    "Norm",
    "Outcome",
    "OutputInfo",
    "OutputKind",
    "PatchedGroup",
    "PatchedLayer",
    "PatchedNeurons",
    "Patching",
    "Perturbation",
    "Plausibility",
    "Record",
    "Screening",
    "Skipped",
    "SlopeTrial",
    "Suspicion",
    "Sustainability",
    "Sweep",
    "Timing",
    "UnboundedTrial",
]

SCHEMA_VERSION = 4


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
    checks: tuple[Check, ...] = Field(default=(), description="every rule that was asked, in order")
    skipped: tuple[Skipped, ...]
    gallery: tuple[Flipped, ...] = Field(default=(), description="images that an attack flipped, for people to look at")
    timing: Timing

    @property
    def accuracy_name(self) -> str:
        """What the share of right images is called: against the model's own predictions it is not an accuracy."""
        return "accuracy" if self.labels.source == "dataset" else "prediction stability"

    @property
    def strongest(self) -> AttackResult | None:
        """The attack that leaves the fewest images right; of equals the one with the smallest epsilon, then the first.

        None where only noise was run: noise is no attack.
        """
        return _strongest(self.attacks)

    @property
    def mvl(self) -> tuple[str, ...]:
        """The most vulnerable layers, worst first, under the strongest attack under which layers were measured."""
        measured = {entry.perturbation: entry.mvl for entry in self.sustainability}
        strongest = _strongest([result for result in self.attacks if result.perturbation.id in measured])
        return () if strongest is None else measured[strongest.perturbation.id]

    @property
    def inconclusive(self) -> bool:
        """Whether a finding says that the robustness figures cannot be relied on."""
        return any(finding.group == "attack-health" and finding.level == "error" for finding in self.findings)


def _strongest(results: Iterable[AttackResult]) -> AttackResult | None:
    attacks = [result for result in results if result.perturbation.kind == "attack"]
    return min(attacks, key=lambda result: (result.robust_accuracy.count, result.perturbation.epsilon), default=None)
