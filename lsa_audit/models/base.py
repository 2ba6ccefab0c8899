"""What every loader returns: one eval-mode module from pixels in [0, 1] to logits, and what is known about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..records import ChannelOrder, Conversion, InputLayout, ModelInfo, ModelSource, OutputInfo
from .deciding import NOTHING_KNOWN, OutputOptions
from .failures import mark
from .heads import Head
from .outputs import OutputCandidate
from .parity import PARITY_TOLERANCE
from .pinning import Pin, pinned


@dataclass(frozen=True)
class Preprocessing:
    """How the weights want their input: from the weights' metadata, or from the command line.

    Attributes:
        mean, std: per channel (or one number for all), on pixels in [0, 1].
        source: where they came from, in words.
        input_shape: (C, H, W), or (F,) for feature vectors; None when only the data can tell.
        channels: what the first convolution takes, where only that is known; None otherwise.
        interpolation: `bilinear`, `bicubic`, `nearest` ..., used when the data must be resized.
        crop_share: share of the short side that evaluation keeps (timm's crop_pct).
        crop_mode: timm's: `center`; `squash` resizes both sides before the crop.
        layout: how the network wants one image, `nchw`, `nhwc` or `flat`; `input_shape` is (C, H, W) all the same.
        network_shape: of one image as the network takes it, e.g. (784, 1); None follows from `layout`.
        channel_order: of the network's three channels; `mean` and `std` are in that order.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    source: str = "none given: pixels in [0, 1] go in unchanged"
    input_shape: tuple[int, ...] | None = None
    channels: int | None = None
    interpolation: str = "bicubic"
    crop_share: float = 1.0
    crop_mode: str = "center"
    layout: InputLayout = "nchw"
    network_shape: tuple[int, ...] | None = None
    channel_order: ChannelOrder = "rgb"


@dataclass(frozen=True)
class Intermediate:
    """A value inside an `Opaque` network: what one operation of the file puts out.

    Attributes:
        name: of the operation, as in the file.
        operation: its kind, as the file calls it.
        value: name of what it puts out first.
        operands: names of those of its inputs that depend on the images, in order.
        parameters: weights that no operation before it reads.
    """

    name: str
    operation: str
    value: str
    operands: tuple[str, ...]
    parameters: int


class Opaque(nn.Module):
    """A network that only its own runtime can run: no gradients, no parameters to see, but values to read.

    Attributes:
        because: the operations for which it is one, or another reason.
        input_name: of the value that the images are.
        parameter_count: of the file.
        weights_sha256: over names, shapes, types and bytes of the file's tensors.
    """

    because: tuple[str, ...]
    input_name: str
    parameter_count: int
    weights_sha256: str

    def intermediates(self) -> tuple[Intermediate, ...]:
        """The values that depend on the images, in the order of the file."""
        raise NotImplementedError

    def run_with(self, images: Tensor, values: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits for what the network takes, and the named values."""
        raise NotImplementedError


class PixelModel(nn.Module):
    """Pixels in [0, 1] to logits [N, K]: normalises, lays the images out as the network wants them, calls the network,
    and makes logits of what it returns (`heads.Head`).

    A network with one output is a binary classifier on the logit z of class 1; [-z / 2, z / 2] has the same
    cross-entropy and the same decision.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(preprocessing.mean), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std), persistent=False)
        self.layout = preprocessing.layout
        self.channel_order = preprocessing.channel_order
        self.network_shape = preprocessing.network_shape
        self.head = Head()
        self.pins: tuple[Pin, ...] = ()

    @property
    def binary(self) -> bool:
        """Whether the network has one score an image."""
        return self.head.single

    @binary.setter
    def binary(self, single: bool) -> None:
        self.head = replace(self.head, single=single)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, C, H, W] or [N, F] in [0, 1] -> logits [N, K]."""
        try:
            if self.pins and not self.training:
                with pinned(self.network, self.pins):
                    return self.head.run(self.network, self.prepare(images))
            return self.head.run(self.network, self.prepare(images))
        except Exception as error:
            mark(error, images.shape)
            raise

    def complete(self, output: Tensor) -> Tensor:
        """The output of the network that is taken -> logits [N, K]."""
        return self.head.complete(output)

    def prepare(self, images: Tensor) -> Tensor:
        """images [N, C, H, W] or [N, F] in [0, 1] -> what the network takes."""
        shape = (1, -1) + (1,) * (images.dim() - 2)
        if self.channel_order == "bgr":
            images = images.flip(1)
        prepared = (images - self.mean.view(shape)) / self.std.view(shape)
        if self.layout == "nhwc":
            prepared = prepared.permute(0, 2, 3, 1)
        elif self.layout == "flat":
            prepared = prepared.flatten(1)
        return prepared if self.network_shape is None else prepared.reshape(-1, *self.network_shape)


Reference = Callable[[Tensor], Any]
"""The original program of a model file: what the network takes -> what it returns."""


@dataclass(frozen=True)
class Undecided:
    """Outputs of a file among which only the data can tell, and what loads the file with one of them."""

    candidates: tuple[OutputCandidate, ...]
    load: Callable[[str], Model]


@dataclass(frozen=True)
class Model:
    """A loaded classifier.

    Attributes:
        module: eval-mode PixelModel on the CPU; the layers' own names are those of `module.network`.
        preprocessing: what the data side must know (input shape, resizing).
        name, source, architecture, weights: for people and the record.
        wanted_classes: what the user or a sidecar says; `fit` refuses a model with another number.
        provenance: where input size, layout and class count came from, in words.
        conversion: for files that carry their own graph.
        reference: the file's own program, to compare the network with at the first run; None where there is none, or
            where the loader has compared already.
        class_names: entry i names class i, where the owner of the model says it; empty otherwise.
        tolerance: for that comparison, of the largest logit.
        finish: what a loader can only find out on images, called by `fit` before its run; it may raise ModelError.
    """

    name: str
    source: ModelSource
    architecture: str
    weights: str
    module: PixelModel
    preprocessing: Preprocessing
    classes: int | None = None
    checkpoint_sha256: str | None = None
    notes: tuple[str, ...] = ()
    wanted_classes: int | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    conversion: Conversion | None = None
    reference: Reference | None = None
    asked: OutputOptions = NOTHING_KNOWN
    undecided: Undecided | None = None
    outputs: OutputInfo | None = None
    label_offset: int | None = None
    class_names: tuple[str, ...] = ()
    tolerance: float = PARITY_TOLERANCE
    finish: Callable[[Model, Tensor], Model] | None = None

    @property
    def differentiable(self) -> bool:
        """Whether gradients reach the input; without them only noise and score-based attacks run."""
        return self.conversion is None or not self.conversion.opaque

    @property
    def settled(self) -> tuple[tuple[int, ...], int]:
        """Input shape and class count.

        Raises:
            ModelError: `fit` has not been called yet.
        """
        if self.preprocessing.input_shape is None or self.classes is None:
            raise ModelError(f"{self.name} has not been run yet", "call fit first")
        return self.preprocessing.input_shape, self.classes


def describe(model: Model) -> ModelInfo:
    """The model as the record holds it. Call it after `fit`.

    Raises:
        ModelError: `fit` has not been called yet.
    """
    input_shape, classes = model.settled
    network = model.module.network
    return ModelInfo(
        name=model.name,
        source=model.source,
        architecture=model.architecture,
        weights=model.weights,
        weights_sha256=weights_sha256(network),
        checkpoint_sha256=model.checkpoint_sha256,
        parameters=network.parameter_count
        if isinstance(network, Opaque)
        else sum(parameter.numel() for parameter in network.parameters()),
        input_shape=input_shape,
        classes=classes,
        mean=model.preprocessing.mean,
        std=model.preprocessing.std,
        normalization_source=model.preprocessing.source,
        input_layout=model.preprocessing.layout,
        crop_share=model.preprocessing.crop_share,
        interpolation=model.preprocessing.interpolation,
        channel_order=model.preprocessing.channel_order,
        provenance=dict(model.provenance),
        conversion=model.conversion,
        outputs=model.outputs,
        notes=model.notes,
    )


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of all parameters and buffers, in sorted order of their names."""
    if isinstance(network, Opaque):
        return network.weights_sha256
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict(keep_vars=True).items()):
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
