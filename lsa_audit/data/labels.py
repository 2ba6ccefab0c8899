"""Labels: reading them strictly, and deciding whether they mean the model's classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, UsageError
from ..records import LabelInfo
from .base import Dataset

LabelMode = Literal["auto", "dataset", "self"]

# Far above every label set, far below what int64 and the arithmetic on labels can hold.
LABEL_LIMIT = 2**31

IMAGENET = 1000


def read_labels(values: NDArray[Any], where: str) -> tuple[Tensor, str]:
    """Labels as int64 [N], and what they were taken for.

    Args:
        values: [N] or [N, 1] whole numbers of any type, or [N, K] with K >= 2 in exact one-hot form.
        where: named in errors.

    Raises:
        DataError: another shape or type, NaN, a fraction, or a negative number.
    """
    if values.ndim == 2 and values.shape[1] >= 2 and values.dtype.kind in "biuf":
        rows_hold_one = (values != 0).sum(axis=1) == 1
        if not rows_hold_one.all() or not numpy.isin(values, (0, 1)).all():
            raise DataError(
                f"{where}: labels of shape {values.shape} are not one-hot", "give one class index per image"
            )
        return torch.from_numpy(
            values.argmax(axis=1).astype(numpy.int64)
        ), f"one-hot labels of {values.shape[1]} classes"
    column = values.ndim == 2 and values.shape[1] == 1
    values = values[:, 0] if column else values
    if values.ndim != 1:
        raise DataError(f"{where}: labels have shape {values.shape}", "give one class index per image, shape [N]")
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where}: labels are of type {values.dtype}", "give class indices as integers")
    if values.dtype.kind == "f":
        bad = ~numpy.isfinite(values) | (values != numpy.floor(values))
        if bad.any():
            raise DataError(f"{where}: label {values[bad][0]} is not a whole number", "give class indices as integers")
    if len(values) and (values.min() < 0 or values.max() >= LABEL_LIMIT):
        bad = (values < 0) | (values >= LABEL_LIMIT)
        raise DataError(f"{where}: label {values[bad][0]} is not a class index", "labels count from 0")
    note = f"{values.dtype} labels" + (" in one column" if column else "")
    return torch.from_numpy(values.astype(numpy.int64)), note


def contiguous_classes(labels: Tensor) -> int | None:
    """m + 1 where the labels of a whole source are exactly 0..m, else None: then the label set cannot be told."""
    present = torch.unique(labels)
    if len(present) and int(present[-1]) == len(present) - 1:
        return len(present)
    return None


def shifted(dataset: Dataset, offset: int | None) -> Dataset:
    """The data with `offset` added to every label: by 1 where the model has a background class in front of them.

    Args:
        offset: 0 states that the labels are right as they are; None states nothing.

    Raises:
        DataError: a label would lie below 0.
    """
    if offset is None:
        return dataset
    labels = dataset.labels + offset
    if len(labels) and int(labels.min()) < 0:
        first = int((labels < 0).nonzero()[0, 0])
        what = f"{dataset.name}: label {int(dataset.labels[first])} of image {dataset.image_ids[first]}"
        raise DataError(f"{what} lies below 0 with --label-offset {offset}", "labels count from 0")
    said = f"; {offset:+d} added to the labels" if offset else ""
    names = ("",) * offset + dataset.class_names if offset > 0 else dataset.class_names[-offset:]
    return replace(
        dataset,
        labels=labels,
        classes=None if dataset.classes is None else max(1, dataset.classes + offset),
        class_names=names if dataset.class_names else (),
        largest_label=dataset.largest_label + offset,
        interpretation=f"{dataset.interpretation}{said}",
        label_offset=offset,
    )


def choose_labels(dataset: Dataset, classes: int, mode: LabelMode) -> LabelInfo:
    """Whether the audit runs against the dataset's labels or against the model's own clean predictions.

    Args:
        classes: the model's class count K.
        mode: `dataset` and `self` force the answer. `auto` takes the labels where the dataset's label set has K classes
            or, where its size is unknown, where every label of the source is below K.

    Raises:
        DataError: the labels are to be used and one lies outside 0..K-1.
        UsageError: another mode, or a model with one class more than the data and nothing that says where.
    """
    if mode != "self" and dataset.naming is not None:
        what = f"{dataset.name}: the labels are class names whose order is not settled"
        raise DataError(what, "give the data by name, or labels as numbers")
    if mode == "self":
        return LabelInfo(source="self", reason="--labels self: the model's own clean predictions count as right")
    _check_background(dataset, classes)
    if mode == "dataset":
        _check_range(dataset, classes)
        return LabelInfo(source="dataset", reason="--labels dataset: the data's labels count as right")
    if mode != "auto":
        raise UsageError(f"--labels {mode} is unknown", "give auto, dataset or self")
    if dataset.classes is None:
        _check_range(dataset, classes, whole_source=True)
        reason = f"the size of the label set is unknown, and every label is below the model's {classes} classes"
        return LabelInfo(source="dataset", reason=reason)
    if dataset.classes == classes:
        return LabelInfo(source="dataset", reason=f"the data and the model both have {classes} classes")
    unplaced = dataset.class_order is not None and not dataset.class_order.placed
    way_out = "--class-order FILE says which ones they are" if unplaced else "--labels dataset uses the data's labels"
    reason = (
        f"the data has {dataset.classes} classes and the model {classes}: the model's own clean predictions count as "
        f"right; {way_out}"
    )
    return LabelInfo(source="self", reason=reason)


def _check_background(dataset: Dataset, classes: int) -> None:
    """Raises UsageError for one class more than the data has: it can be the first or the last, and labels shift."""
    unknown = dataset.classes is None and classes == IMAGENET + 1 and dataset.largest_label < IMAGENET
    one_more = dataset.classes is not None and dataset.classes > 1 and classes == dataset.classes + 1
    if dataset.label_offset is None and (one_more or unknown):
        known = IMAGENET if dataset.classes is None else dataset.classes
        what = f"the model has {classes} classes and {dataset.name} {known}: label 0 can mean class 0 or, behind a "
        raise UsageError(
            f"{what}background class, class 1", "say which: --label-offset 0 or --label-offset 1 (or --labels self)"
        )


def _check_range(dataset: Dataset, classes: int, whole_source: bool = False) -> None:
    hint = "give a model with the data's classes, or --labels self"
    if dataset.largest_label == classes and bool((dataset.labels >= 1).all()):
        hint = f"subtract 1 if the labels count from 1; else {hint}"
    if bool((dataset.labels >= classes).any()):
        first = int((dataset.labels >= classes).nonzero()[0, 0])
        what = f"{dataset.name}: label {int(dataset.labels[first])} of image {dataset.image_ids[first]}"
        raise DataError(f"{what} is out of range: the model has {classes} classes, 0..{classes - 1}", hint)
    if whole_source and dataset.largest_label >= classes:
        what = f"{dataset.name} holds label {dataset.largest_label} outside the chosen images"
        raise DataError(f"{what}: labels out of range, the model has {classes} classes, 0..{classes - 1}", hint)
