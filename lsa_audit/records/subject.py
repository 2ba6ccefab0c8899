"""What was audited: the model, the images, and what counts as right."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Record

LabelSource = Literal["dataset", "self"]
ModelSource = Literal["builtin", "timm", "factory", "module", "torchscript", "exported", "onnx"]
InputLayout = Literal["nchw", "nhwc", "flat"]
ChannelOrder = Literal["rgb", "bgr"]


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
    channel_order: ChannelOrder = "rgb"
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
    class_order: str | None = Field(
        default=None, description="how class names became labels, and why; None: the labels were numbers"
    )
    sha256: str = Field(description="over the pixels, the labels and the image ids, after the transforms")


class LabelInfo(Record):
    """What counts as right: the dataset's labels, or the model's own clean predictions."""

    source: LabelSource
    reason: str
