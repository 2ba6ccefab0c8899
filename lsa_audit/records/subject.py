"""What was audited: the model, the images, and what counts as right."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Record

LabelSource = Literal["dataset", "self"]
ModelSource = Literal["builtin", "timm", "factory", "module", "torchscript", "exported", "onnx"]
InputLayout = Literal["nchw", "nhwc", "flat"]
ChannelOrder = Literal["rgb", "bgr"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]


OutputKind = Literal[
    "logits",
    "sigmoids",
    "softmax",
    "log-sigmoids",
    "log-softmax",
    "labels",
    "squashed",
    "probabilities",
    "independent-probabilities",
    "log-probabilities",
]
DecidedBy = Literal["graph", "values", "user"]
LogitsAre = Literal["unchanged", "peeled", "logarithm", "log-odds"]


class OutputInfo(Record):
    """What the model's outputs were taken for, and how they became logits."""

    kind: OutputKind = Field(
        description="sigmoids, softmax ...: what makes them; probabilities ...: what values show; squashed: another "
        "activation with bounds makes them"
    )
    decided_by: DecidedBy
    logits: LogitsAre = Field(
        description="peeled: what stands in front of the last activation; else a function of them"
    )
    columns: int = Field(description="scores an image; 1 is the score of class 1 of two")
    images: int | None = Field(default=None, description="how many images the values were judged by")
    output: str = Field(default="", description="name or index of the output that was taken, where there are several")
    others: tuple[str, ...] = Field(default=(), description="the outputs that were not taken")
    chosen_by: Literal["only", "name", "classes", "user"] = "only"
    squashed_by: tuple[str, ...] = Field(
        default=(),
        description="activations with bounds that were removed and make no probabilities, the last one first",
    )
    masked: tuple[int, ...] = Field(default=(), description="classes whose logit is -inf, so that they never win")

    @property
    def plain(self) -> bool:
        """Whether nothing is to be said: the only output, logits as they are."""
        return self.kind == "logits" and self.decided_by != "user" and not self.others and not self.masked

    @property
    def sentence(self) -> str:
        """All of it in words."""
        several = "" if self.columns == 1 else f"{self.columns} "
        one = self.columns == 1
        what = {
            "logits": "one logit an image, class 1 above 0" if one else "logits",
            "sigmoids": "one sigmoid, class 1 above 0.5" if one else f"{several}sigmoids",
            "softmax": "a softmax",
            "log-sigmoids": "the logarithm of one sigmoid" if one else f"the logarithms of {several}sigmoids",
            "log-softmax": "a log-softmax",
            "labels": "class labels made by an argmax",
            "squashed": f"{self._squash} of {'one value, class 1 above its middle' if one else f'{several}values'}",
            "probabilities": "probabilities that sum to 1",
            "independent-probabilities": "one probability, class 1 above 0.5"
            if one
            else f"{several}values in [0, 1] that do not sum to 1",
            "log-probabilities": "log-probabilities",
        }[self.kind]
        if self.squashed_by and self.kind != "squashed":
            what += f" of {self._squash}"
        how = {
            "graph": "seen in the graph",
            "values": f"judged by their values on {self.images} images",
            "user": "as --outputs-are says",
        }[self.decided_by]
        used = {
            "unchanged": "; they differ from logits by one number an image and are used as they are"
            if self.kind == "log-probabilities"
            else "",
            "peeled": "; attacks use the values in front of it, decisions use the outputs"
            if self.squashed_by and not one
            else f"; attacks and decisions use the {'logit' if one else 'logits'} in front of "
            f"{'them' if self.kind in ('sigmoids', 'log-sigmoids', 'labels') and not one else 'it'}",
            "logarithm": "; attacks use their logarithm, which cannot undo a rounding to 0",
            "log-odds": "; attacks use log(p / (1 - p)), which cannot undo a rounding to 0 or 1",
        }[self.logits]
        return f"{what} ({how}){used}{self._choice()}{self._masked()}"

    @property
    def _squash(self) -> str:
        return " of ".join(f"a{'n' * (name[:1] in 'aeiou')} {name}" for name in self.squashed_by)

    def _choice(self) -> str:
        if not self.others:
            return ""
        why = {
            "only": "only it can hold logits",
            "name": "by its name",
            "classes": "it has as many columns as there are classes",
            "user": "as --logits says",
        }[self.chosen_by]
        return f"; of the outputs, {self.output} is taken ({why}), not {', '.join(self.others)}"

    def _masked(self) -> str:
        if not self.masked:
            return ""
        count = len(self.masked)
        return f"; {count} {'class has a logit' if count == 1 else 'classes have logits'} of -inf and can never win"


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
    crop_share: float | None = Field(default=None, description="share of a photo's short side that is kept")
    interpolation: str | None = Field(default=None, description="with which images are resized")
    channel_order: ChannelOrder = "rgb"
    provenance: dict[str, str] = Field(
        default_factory=dict, description="where input size, layout, class count and the like came from, in words"
    )
    conversion: Conversion | None = Field(default=None, description="for model files that carry their own graph")
    outputs: OutputInfo | None = Field(default=None, description="what the outputs were taken for")
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
    largest_pixel: float | None = Field(
        default=None, description="of all images, in [0, 1]; None: an older version did not look"
    )
    sha256: str = Field(description="over the pixels, the labels and the image ids, after the transforms")

    @property
    def enlarged(self) -> str | None:
        """What the transforms say of images that were made much larger; None where they were not."""
        return next((step for step in self.transforms if step.startswith("enlarged ")), None)


class LabelInfo(Record):
    """What counts as right: the dataset's labels, or the model's own clean predictions."""

    source: LabelSource
    reason: str
