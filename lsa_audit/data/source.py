"""A data set whose labels are known and whose pixels are read only for the images that are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from .base import DataRequest, Dataset, Naming
from .labels import contiguous_classes
from .subset import select

Read = Callable[[Tensor], tuple[Tensor, tuple[str, ...]]]


@dataclass(frozen=True)
class Source:
    """What a loader knows before the selection.

    Attributes:
        labels: int64 [total].
        image_ids: [total], unique.
        read: chosen positions [N] -> pixels [N, ...] as `Dataset` wants them, and the transforms made.
        classes: size of the label set; None is settled from the labels where they are exactly 0..m.
        naming: where the labels count class names.
        remarks: see `Dataset`.
    """

    name: str
    loader: str
    interpretation: str
    labels: Tensor
    image_ids: Sequence[str]
    read: Read
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    naming: Naming | None = None
    remarks: tuple[str, ...] = ()


def assemble(source: Source, request: DataRequest) -> Dataset:
    """Choose, read and put together.

    Raises:
        UsageError, DataError: from the selection and from reading the pixels.
    """
    selection = select(source.labels, request.samples, request.slice, request.seed)
    pixels, transforms = source.read(selection.indices)
    return Dataset(
        name=_text(source.name),
        source=source.loader,
        interpretation=source.interpretation,
        selection=selection.sentence,
        transforms=transforms,
        pixels=pixels,
        labels=source.labels[selection.indices],
        image_ids=tuple(_text(source.image_ids[index]) for index in selection.indices.tolist()),
        total=len(source.labels),
        classes=contiguous_classes(source.labels) if source.classes is None else source.classes,
        class_names=tuple(map(_text, source.class_names)),
        largest_label=int(source.labels.max()),
        remarks=source.remarks,
        naming=None if source.naming is None else _readable(source.naming),
    )


def _readable(naming: Naming) -> Naming:
    return replace(naming, names=tuple(map(_text, naming.names)), where=_text(naming.where))


def _text(name: str) -> str:
    """A name as text: file systems take bytes that are none, and a record, which is JSON, does not."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
