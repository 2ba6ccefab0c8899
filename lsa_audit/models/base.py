"""What every loader returns: one eval-mode module from pixels in [0, 1] to logits, and what is known about it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..records import ModelInfo, ModelSource


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
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    source: str = "none given: pixels in [0, 1] go in unchanged"
    input_shape: tuple[int, ...] | None = None
    channels: int | None = None
    interpolation: str = "bicubic"
    crop_share: float = 1.0


class PixelModel(nn.Module):
    """Pixels in [0, 1] to logits [N, K]: normalises, calls the network, and gives a single-logit head its second class.

    A network with one output is a binary classifier on the logit of class 1; [0, z] has the same cross-entropy and the
    same decision.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(preprocessing.mean), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std), persistent=False)
        self.binary = False

    def forward(self, images: Tensor) -> Tensor:
        """images [N, C, H, W] or [N, F] in [0, 1] -> logits [N, K]."""
        shape = (1, -1) + (1,) * (images.dim() - 2)
        logits: Tensor = self.network((images - self.mean.view(shape)) / self.std.view(shape))
        if self.binary:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return logits


@dataclass(frozen=True)
class Model:
    """A loaded classifier.

    Attributes:
        module: eval-mode PixelModel on the CPU; the layers' own names are those of `module.network`.
        preprocessing: what the data side must know (input shape, resizing).
        name, source, architecture, weights: for people and the record.
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

    @property
    def settled(self) -> tuple[tuple[int, ...], int]:
        """Input shape and class count.

        Raises:
            ModelError: `fit` has not been called yet.
        """
        if self.preprocessing.input_shape is None or self.classes is None:
            raise ModelError(f"{self.name} has not been run yet", "call fit first")
        return self.preprocessing.input_shape, self.classes


def fit(model: Model, images: Tensor) -> Model:
    """Run the model once on real images and settle what only a run can tell: input shape and class count.

    Args:
        images: [N, C, H, W] or [N, F] float32 in [0, 1], N >= 1.

    Returns:
        The model with `classes` and `preprocessing.input_shape` filled in (`module.binary` set for a single logit).

    Raises:
        ModelError: forward raised, the output is not a float [N, K], or a logit or a weight is not finite.
    """
    _check_weights(model)
    module = model.module
    home = next((parameter.device for parameter in module.parameters()), images.device)
    try:
        with torch.no_grad():
            logits = module.to(home)(images.to(home))
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        shape = tuple(images.shape[1:])
        raise ModelError(
            f"{model.name} failed in forward on images of shape {shape}: {reason}",
            "if the size is wrong, give --input-size CxHxW",
        ) from error
    if (
        not isinstance(logits, Tensor)
        or logits.dim() != 2
        or len(logits) != len(images)
        or not logits.is_floating_point()
    ):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"{model.name} returned {found} for {len(images)} images", "a classifier must return logits [N, K]"
        )
    if logits.shape[1] == 1:
        module.binary = True
    if not torch.isfinite(logits).all():
        raise ModelError(
            f"{model.name} returned NaN or infinite logits on clean images", "check the weights and --mean/--std"
        )
    preprocessing = replace(model.preprocessing, input_shape=tuple(images.shape[1:]))
    return replace(model, classes=max(2, logits.shape[1]), preprocessing=preprocessing)


def describe(model: Model) -> ModelInfo:
    """The model as the record holds it. Call it after `fit`.

    Raises:
        ModelError: `fit` has not been called yet.
    """
    input_shape, classes = model.settled
    return ModelInfo(
        name=model.name,
        source=model.source,
        architecture=model.architecture,
        weights=model.weights,
        weights_sha256=weights_sha256(model.module.network),
        checkpoint_sha256=model.checkpoint_sha256,
        parameters=sum(p.numel() for p in model.module.parameters()),
        input_shape=input_shape,
        classes=classes,
        mean=model.preprocessing.mean,
        std=model.preprocessing.std,
        normalization_source=model.preprocessing.source,
        notes=model.notes,
    )


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of all parameters and buffers, in sorted order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict(keep_vars=True).items()):
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _check_weights(model: Model) -> None:
    for name, tensor in model.module.network.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{model.name}: weight {name} holds NaN or infinite values", "give another checkpoint")
