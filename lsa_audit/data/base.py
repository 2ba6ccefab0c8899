"""What every loader returns: images in [0, 1] in the shape that the model wants, labels, and how they came about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..records import DataInfo
from ..units import PIXEL_LEVELS

HASH_CHUNK = 256
DIGEST_BYTES = 8


@dataclass(frozen=True)
class InputSpec:
    """What the model wants.

    Attributes:
        shape: (C, H, W), or (F,) for feature vectors; None takes the data's own shape.
        channels: used when `shape` is None: the channels that are wanted, or None for the data's own.
        interpolation: a name of `transforms.INTERPOLATIONS`.
        crop_share: share of the short side that the centre crop of a photo keeps, in (0, 1] (timm's crop_pct).
        crop_mode: timm's: `center`; `squash` resizes both sides before the crop.
        crops_arrays: whether arrays are cropped as photos are; else they are resized as a whole.
    """

    shape: tuple[int, ...] | None = None
    channels: int | None = None
    interpolation: str = "bicubic"
    crop_share: float = 1.0
    crop_mode: str = "center"
    crops_arrays: bool = False


@dataclass(frozen=True)
class DataRequest:
    """Which data, and how much of it.

    Attributes:
        spec: a name of `LOADERS` (`digits`, `cifar10:train` ...), an image folder, or FILE.npz.
        samples: size of the seeded class-balanced choice; None takes all.
        slice: (start, stop) in the data's own order, applied before `samples`; None on a side leaves it open.
        seed: of the choice, 0 or above.
        root: where torchvision's sets lie; None takes the user's cache folder.
        offline: never download.
        class_order: which order class names count, as the user says it; see `order.settle`.
    """

    spec: str
    samples: int | None = None
    slice: tuple[int | None, int | None] | None = None
    seed: int = 0
    root: Path | None = None
    offline: bool = False
    class_order: str | None = None


@dataclass(frozen=True)
class Naming:
    """Class names whose order is not settled yet; the labels count them as text sorts them.

    Attributes:
        names: [U], sorted, unique.
        where: named in errors.
        folders: they are class folders, for which sorted names are the rule; otherwise labels that are names.
        note: goes behind the order in the interpretation.
    """

    names: tuple[str, ...]
    where: str
    folders: bool
    note: str = ""


@dataclass(frozen=True)
class ClassOrder:
    """Which order the labels count.

    Attributes:
        kind: text, numeric, wnid, file, or model.
        words: the order and its reason.
        stated: the user or the model says it.
        placed: the labels are the model's classes; False where it has more classes and which these are is not known.
    """

    kind: str
    words: str
    stated: bool = False
    placed: bool = True


@dataclass(frozen=True)
class Dataset:
    """The chosen images and labels, held in memory.

    Attributes:
        name: what people call it, e.g. the file's stem.
        source: the loader: digits, cifar10, folder, arrays, memory ...
        interpretation: what the source was taken for, in words.
        selection: which images of the source, in words.
        transforms: every change made to the pixels, one sentence each, in order.
        pixels: uint8 (v means v / 255) or float32 in [0, 1], [N, C, H, W] or [N, F]. Repeated channels may share
            memory: read it, never write to it.
        labels: int64 [N], 0 or above.
        image_ids: index in the source as text, or the file's path inside the folder; unique.
        total: images in the whole source.
        classes: size of the source's label set where it is known.
        class_names: entry i names label i; empty where unknown.
        largest_label: over the whole source, so that a subset does not hide labels that the model cannot have.
        label_offset: what was added to the labels; None where nothing was said of it.
        remarks: what is said on screen before anything runs, one sentence each.
        naming: where the labels count class names whose order is not settled; see `order.settle`.
        class_order: how it was settled; None for labels that were numbers.
    """

    name: str
    source: str
    interpretation: str
    selection: str
    transforms: tuple[str, ...]
    pixels: Tensor
    labels: Tensor
    image_ids: tuple[str, ...]
    total: int
    classes: int | None
    class_names: tuple[str, ...]
    largest_label: int
    label_offset: int | None = None
    remarks: tuple[str, ...] = ()
    naming: Naming | None = None
    class_order: ClassOrder | None = None

    def images(self, start: int, stop: int) -> Tensor:
        """Images start..stop-1 as float32 in [0, 1], [stop - start, C, H, W] or [stop - start, F], in new memory."""
        chosen = self.pixels[start:stop]
        if chosen.dtype == torch.uint8:
            return chosen.to(torch.float32).div_(PIXEL_LEVELS)
        return chosen.clone(memory_format=torch.contiguous_format)

    @property
    def largest_pixel(self) -> float:
        """In [0, 1], of all images. Cost: one pass over the pixels."""
        largest = float(self.pixels.max())
        return largest / PIXEL_LEVELS if self.pixels.dtype == torch.uint8 else largest

    def __len__(self) -> int:
        return len(self.labels)


def remarks(dataset: Dataset) -> tuple[str, ...]:
    """What is worth a line on the screen: how labels and pixels were read, where that is unusual."""
    order, turned = dataset.class_order, [entry for entry in dataset.transforms if entry.startswith("EXIF")]
    unusual = order is not None and (order.stated or order.kind != "text")
    return (*dataset.remarks, *([order.words] if order is not None and unusual else []), *turned)


def describe(dataset: Dataset) -> DataInfo:
    """The data as the record holds it. Cost: one pass over the pixels for the hash."""
    return DataInfo(
        name=dataset.name,
        source=dataset.source,
        interpretation=dataset.interpretation,
        selection=dataset.selection,
        transforms=dataset.transforms,
        samples=len(dataset),
        total=dataset.total,
        classes=dataset.classes,
        class_names=dataset.class_names,
        class_order=None if dataset.class_order is None else dataset.class_order.words,
        largest_pixel=dataset.largest_pixel,
        sha256=sha256(dataset),
    )


def digests(dataset: Dataset) -> NDArray[np.uint8]:
    """[N, 8] what tells an image: the head of a SHA-256 over shape and type, pixels, label and id."""
    head = f"{tuple(dataset.pixels.shape[1:])} {dataset.pixels.dtype}\n".encode()
    rows = []
    for pixels, label, image_id in zip(dataset.pixels, dataset.labels.tolist(), dataset.image_ids, strict=True):
        tail = f"\n{label}\n{image_id}".encode(errors="surrogateescape")
        rows.append(hashlib.sha256(head + pixels.contiguous().numpy().tobytes() + tail).digest()[:DIGEST_BYTES])
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(dataset), DIGEST_BYTES)


def sha256(dataset: Dataset) -> str:
    """SHA-256 over shape and type, pixels, labels and image ids, as they are after the transforms."""
    pixels = dataset.pixels
    digest = hashlib.sha256(f"{tuple(pixels.shape)} {pixels.dtype}\n".encode())
    for start in range(0, len(pixels), HASH_CHUNK):
        digest.update(pixels[start : start + HASH_CHUNK].contiguous().numpy().tobytes())
    digest.update(dataset.labels.numpy().tobytes())
    for image_id in dataset.image_ids:
        digest.update(f"{image_id}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
