"""The frozen result types that travel between stages and into `record.json`. No tensors, no torch.

Fractions lie in 0..1, epsilons are in pixel units, durations in seconds. A number that could not be computed is `None`;
a thing that could not be measured is a `Skipped`, which every report shows.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

Norm = Literal["linf", "l2"]
LabelSource = Literal["dataset", "self"]
LayerKind = Literal["learnable", "norm", "attention", "activation", "add", "pool", "block"]
NeuronClass = Literal["fragile", "robust", "null"]
ModelSource = Literal["builtin", "timm", "factory", "module", "torchscript", "exported", "onnx"]
InputLayout = Literal["nchw", "nhwc", "flat"]
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


class Conversion(Record):
    """How a model file became the network that was audited, and whether that reproduces it."""

    file: str = Field(description="name of the file, without its folder")
    sha256: str = Field(description="of the file")
    format: str = Field(description="in words, e.g. 'ONNX, opset 17, written by pytorch 2.10'")
    reference: str | None = Field(default=None, description="what the network was compared with; None: nothing")
    parity: float | None = Field(
        default=None, description="largest difference of logits from the reference's, relative"
    )
    parity_detail: str = Field(default="", description="on which input, or why there was no comparison")
    static_batch: int | None = Field(default=None, description="the only batch size that the file itself takes")
    straight_through: tuple[str, ...] = Field(
        default=(), description="rounding operations whose gradient is taken as that of the identity"
    )
    opaque: tuple[str, ...] = Field(
        default=(), description="operations that only the file's own runtime can run: no gradients, no neurons"
    )


class ModelInfo(Record):
    """The model that was audited, as loaded."""

    name: str
    source: ModelSource
    architecture: str
    weights: str = Field(description="where the weights came from, in words")
    weights_sha256: str = Field(description="over names, shapes, types and bytes of all parameters and buffers")
    checkpoint_sha256: str | None = None
    parameters: int
    input_shape: tuple[int, ...]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalization_source: str
    input_layout: InputLayout = "nchw"
    provenance: dict[str, str] = Field(
        default_factory=dict, description="where input size, layout and class count came from, in words"
    )
    conversion: Conversion | None = Field(default=None, description="for model files that carry their own graph")
    notes: tuple[str, ...] = ()


class DataInfo(Record):
    """The images and labels that were audited."""

    name: str
    source: str = Field(description="the loader: digits, cifar10, folder, arrays, memory ...")
    interpretation: str = Field(description="what the file was taken for, e.g. 'uint8 NHWC, 1000 x 32 x 32 x 3'")
    selection: str = Field(description="which images of the source, in words")
    transforms: tuple[str, ...] = ()
    samples: int
    total: int
    classes: int | None = Field(description="size of the label set where it is known")
    class_names: tuple[str, ...] = ()
    sha256: str = Field(description="over the pixels, the labels and the image ids, after the transforms")


class LabelInfo(Record):
    """What counts as right: the dataset's labels, or the model's own clean predictions."""

    source: LabelSource
    reason: str


class Perturbation(Record):
    """One attack or noise at one epsilon, with every setting that changes its result."""

    id: str = Field(description="e.g. pgd@linf-8/255")
    name: str
    kind: Literal["attack", "noise"]
    norm: Norm
    epsilon: float
    steps: int
    step_size: float | None
    restarts: int
    version: int = Field(description="rises when the implementation changes its results")
    citation: str


class AttackResult(Record):
    """The judge's verdicts on one perturbation, summed up; the per-image verdicts are in `evidence.npz`."""

    perturbation: Perturbation
    robust_accuracy: Estimate
    fooled: int = Field(description="images right before and wrong after")
    nonfinite: int = Field(description="images whose logits became NaN or infinite; counted as fooled")
    zero_gradient: int = Field(
        description="robust verdicts for which every gradient was zero or not finite: not attacked"
    )
    forwards: int = Field(description="images sent forward")
    backwards: int = Field(description="images sent backward")
    mean_linf: float
    mean_l2: float


class LayerInfo(Record):
    """One layer as the walker found it, in the order of execution."""

    name: str
    kind: LayerKind
    op: str
    input_shape: tuple[int, ...] | None = Field(description="without the batch dimension")
    output_shape: tuple[int, ...] = Field(description="without the batch dimension")
    neurons: int | None
    neuron_dim: int | None = Field(description="dimension of the output (batch included) along which the neurons lie")
    parameters: int
    flops: int = Field(description="per image; two for each multiply-add of convolutions and matrix products, else 0")


class GraphInfo(Record):
    """How the model was walked, and whether that reproduces it."""

    walker: Literal["export", "hooks", "runtime"]
    specialized: bool = Field(
        default=False, description="a branch that depends on values was followed as the sample images took it"
    )
    parity: float = Field(
        description="largest difference of logits between the walked and the original model, relative"
    )
    batch_independent: bool | None = Field(description="whether an image's logits are free of its batch mates")
    layers: tuple[LayerInfo, ...]
    skipped: tuple[Skipped, ...] = ()


class LayerMeasure(Record):
    """How far one layer moved under one perturbation, over the images."""

    layer: str
    mean: float | None
    std: float | None
    low: float | None = Field(description="95 % bootstrap interval of the mean")
    high: float | None
    undefined: int = Field(description="images for which the measure does not exist, e.g. an all-zero clean activation")
    lipschitz: float | None = Field(description="mean of ||d phi|| / ||d x||")
    amplification: float | None = Field(
        description="mean relative error over that of the layer before (first: the input)"
    )
    mvl_share: float | None = Field(description="share of bootstrap resamples in which the layer is in the list")


class Sustainability(Record):
    """Layer sustainability under one perturbation: the pooled statistics and the most vulnerable layers (MVL)."""

    perturbation: str = Field(description="id of the perturbation")
    measure: str
    mu: float | None
    sigma: float | None
    eta: float
    mvl: tuple[str, ...] = Field(description="most vulnerable first; empty when no layer is above the threshold")
    highest: str | None = Field(description="the layer with the highest mean, in the list or not")
    input_mean: float | None = Field(description="the same measure on the input itself")
    layers: tuple[LayerMeasure, ...]


class Neuron(Record):
    """One neuron, dropped."""

    neuron_index: int
    neuron_class: NeuronClass
    accuracy_drop: float
    margin_drop: float | None = Field(description="None where a logit became NaN or infinite")
    adversarial_accuracy_drop: float
    adversarial_margin_drop: float | None
    targeting_score: float | None
    p_value: float = Field(description="exact paired McNemar test, one-sided for a loss")
    p_adjusted: float = Field(description="Holm over the neurons of the layer")


class Correlation(Record):
    """Spearman's rank correlation over the neurons of a layer, with a two-sided permutation p-value."""

    between: tuple[str, str]
    rho: float | None = Field(description="None when one side is constant")
    p_value: float | None
    neurons: int


class NeuronTable(Record):
    """Nodal dropout of one layer."""

    layer: str
    site: str = Field(description="where the neurons were dropped, e.g. 'bn1 (the batch norm after conv1)'")
    drop_value: Literal["zero", "mean"]
    perturbation: str | None = Field(description="id of the attack whose images were used")
    samples: int
    neurons: tuple[Neuron, ...]
    correlations: tuple[Correlation, ...]


class Finding(Record):
    """What a reader should know or do, drawn from the measurements by one rule."""

    rule: str
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
    model: ModelInfo
    data: DataInfo
    labels: LabelInfo
    settings: dict[str, Any]
    environment: Environment
    clean: Estimate
    attacks: tuple[AttackResult, ...]
    graph: GraphInfo
    sustainability: tuple[Sustainability, ...]
    neurons: tuple[NeuronTable, ...]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    timing: Timing

    @property
    def accuracy_name(self) -> str:
        """What the share of right images is called: against the model's own predictions it is not an accuracy."""
        return "accuracy" if self.labels.source == "dataset" else "prediction stability"

    @property
    def inconclusive(self) -> bool:
        """Whether a finding says that the robustness figures cannot be relied on."""
        return any(finding.rule == "attack-health" and finding.level == "error" for finding in self.findings)
