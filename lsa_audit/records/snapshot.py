"""What a gate and a diff look at of a run, small enough to be committed as a baseline."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from . import Finding
from .attacks import Perturbation
from .base import Record, Skipped
from .subject import DataInfo, LabelInfo, ModelInfo

SNAPSHOT_VERSION = 1


class Flags(Record):
    """One truth value for each image, in the order of the run: base64 of the bits, the first image in the high bit."""

    count: int
    bits: str


class JudgedImages(Record):
    """Which images stay right under one perturbation: right before and after it."""

    perturbation: Perturbation
    robust: Flags


class LayerState(Record):
    """One layer under one perturbation."""

    layer: str
    mean: float | None = Field(description="of the measure over the images")
    low: float | None = Field(description="95 % bootstrap interval of the mean")
    high: float | None
    mvl_share: float | None = Field(description="share of bootstrap resamples in which the layer is in the list")


class MeasuredLayers(Record):
    """The layers under one perturbation."""

    perturbation: str = Field(description="its id")
    measure: str
    eta: float
    mvl: tuple[str, ...]
    layers: tuple[LayerState, ...]
    values: str | None = Field(
        default=None,
        description="base64 of zlib of little-endian float32 [layers, images], NaN where undefined; None where no gate "
        "needs the single images",
    )


class NeuronCount(Record):
    """How many neurons of a layer are fragile on clean images."""

    layer: str
    fragile: int
    neurons: int
    drop_value: Literal["zero", "mean"] = Field(default="zero", description="what a dropped neuron became")


class Snapshot(Record):
    """What of a run is compared: verdicts as bits, layers, counts, findings, and what makes runs comparable."""

    snapshot_version: int = SNAPSHOT_VERSION
    tool_version: str
    name: str = Field(description="what the run is called, without its folder's path")
    subject: str | None = Field(description="the model as it was named on the command line")
    started_at: str
    model: ModelInfo
    data: DataInfo
    labels: LabelInfo
    seed: int
    precision: str = Field(description="of the attacks' queries")
    digests: str | None = Field(
        description="base64 of 8 bytes an image over its pixels, label and id; None for runs that did not keep them"
    )
    clean: Flags
    judged: tuple[JudgedImages, ...]
    measured: tuple[MeasuredLayers, ...]
    neurons: tuple[NeuronCount, ...]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]


class Acceptance(Record):
    """One time that a baseline was set."""

    day: str = Field(description="ISO date")
    run: str
    reason: str = Field(description="`first`, `improved`, or what was said with --accept")


BASELINE_VERSION = 1


class Baseline(Record):
    """A snapshot that later runs are held against, and how it came to be: `baseline.json`."""

    baseline_version: int = BASELINE_VERSION
    snapshot: Snapshot
    history: tuple[Acceptance, ...]
