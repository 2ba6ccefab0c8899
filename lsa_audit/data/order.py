"""Which class of the model each class name of the data means. Two possible readings are named, and none is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import UsageError
from .base import ClassOrder, Dataset
from .labels import LabelMode
from .names import class_numbers, known_positions, places_in, read_names

KEYWORDS = ("numeric", "text", "wnid")
BY_NAME = "labels by sorted name"
SHOWN = 4
FILE_HINT = "give --class-order FILE with the model's class names in its order, one a line"


@dataclass(frozen=True)
class _Placed:
    """What was decided: entry i is the model's class of name i.

    Attributes:
        names: entry j names label j; empty where that is known of some labels only.
        size: of the label set, where that is known.
    """

    labels: tuple[int, ...]
    order: ClassOrder
    names: tuple[str, ...]
    size: int | None


def settle(
    dataset: Dataset,
    classes: int,
    mode: LabelMode = "auto",
    order: str | None = None,
    model_names: tuple[str, ...] = (),
) -> Dataset:
    """The data with labels that count the model's classes.

    Args:
        dataset: its labels count `dataset.naming` in text order; without a naming they are numbers already.
        classes: the model's class count K.
        mode: with `self` the labels decide nothing, and no order is asked for.
        order: a keyword of `KEYWORDS`, or a file with the model's class names; None: the only reading, where there is
            one.
        model_names: the model's own, in its order, where they are known; they go after `order`.

    Raises:
        UsageError: two readings are possible and `order` says nothing; or what it says does not fit.
        DataError: the file cannot be read.
    """
    naming = dataset.naming
    if naming is None:
        if order is None or mode == "self" or dataset.class_order is not None:
            return dataset
        what = f"--class-order {order} orders class names, and the labels of {dataset.name} are numbers"
        raise UsageError(what, "leave --class-order out")
    names = naming.names
    if mode == "self":
        placed = _by_rank(names, ClassOrder("text", BY_NAME), len(names))
    elif order is not None:
        placed = _as_told(names, classes, order, naming.where)
    elif (found := places_in(model_names, names)) is not None and len(model_names) == classes:
        told = ClassOrder("model", "labels by the model's own class names", stated=True)
        placed = _Placed(found, told, model_names, classes)
    else:
        placed = _only_reading(dataset, names, classes, mode)
    labels = torch.tensor(placed.labels, dtype=torch.int64)
    return replace(
        dataset,
        labels=labels[dataset.labels],
        interpretation=f"{dataset.interpretation}, {placed.order.words}{naming.note}",
        classes=placed.size,
        class_names=placed.names,
        largest_label=max(placed.labels),
        class_order=placed.order,
        naming=None,
    )


def _as_told(names: tuple[str, ...], classes: int, order: str, where: str) -> _Placed:
    """As --class-order says. Fewer names than the model has classes are then taken at their word."""
    size = len(names) if len(names) >= classes else None
    said = f"as --class-order {order} says"
    if order == "text":
        return _by_rank(names, ClassOrder("text", f"labels by sorted name, {said}", stated=True), size)
    if order == "wnid":
        found = known_positions(names, classes)
        if found is None:
            what = f"--class-order wnid: {where} has names that are no WordNet ids of a {classes}-class ImageNet set"
            raise UsageError(what, "use text, numeric or FILE")
        told = ClassOrder("wnid", f"labels are the positions of WordNet ids in {found.set_name}, {said}", stated=True)
        return _Placed(found.labels, told, (), found.size)
    if order == "numeric":
        numbers = class_numbers(names)
        if numbers is None:
            raise UsageError(f"--class-order numeric: the names in {where} hold no class numbers", "use text or FILE")
        return _by_number(names, numbers, classes, f"labels by number, {said}", size, stated=True)
    path = Path(order).expanduser()
    listed = read_names(path, KEYWORDS)
    if len(listed) != classes:
        what = f"--class-order {path.name} names {len(listed)} classes, and the model has {classes}"
        raise UsageError(what, "name each class of the model once, in its order")
    placed = places_in(listed, names)
    if placed is None:
        missing = next(name for name in names if places_in(listed, (name,)) is None)
        raise UsageError(f"--class-order {path.name} does not name {missing!r} of {where}", "name every class")
    told = ClassOrder("file", f"labels by the order of {path.name}", stated=True)
    return _Placed(placed, told, tuple(listed), classes)


def _only_reading(dataset: Dataset, names: tuple[str, ...], classes: int, mode: LabelMode) -> _Placed:
    """The order where nothing says it and only one is possible."""
    where = dataset.naming.where if dataset.naming is not None else dataset.name
    found = known_positions(names, classes)
    if found is not None:
        words = f"labels are the positions of WordNet ids in {found.set_name}"
        return _Placed(found.labels, ClassOrder("wnid", words), (), found.size)
    if dataset.naming is not None and not dataset.naming.folders:
        what = f"{where}: the labels are names ({_some(names)}), which do not say the model's order"
        raise UsageError(what, f"{FILE_HINT}, or --class-order text to count the sorted names from 0")
    numbers = class_numbers(names)
    if numbers is not None and len(names) <= classes:
        _refuse_two_readings(names, numbers, classes, where)
    if len(names) < classes and mode == "dataset":
        what = f"{where} has {len(names)} classes ({_some(names)}) and the model {classes}: which ones is not known"
        raise UsageError(what, f"{FILE_HINT}, or --class-order text to count the sorted names from 0")
    return _by_rank(names, ClassOrder("text", BY_NAME, placed=len(names) >= classes), len(names))


def _refuse_two_readings(names: tuple[str, ...], numbers: tuple[int, ...], classes: int, where: str) -> None:
    """Raises UsageError where the numbers in the names give other labels than their text order."""
    by_number = _by_number(names, numbers, classes, "", len(names), stated=False).labels
    if by_number == tuple(range(len(names))):
        return
    if len(names) == classes:
        ordered = [name for _, name in sorted(zip(by_number, names, strict=True))]
        readings = f"by number ({_some(ordered)}) or by text ({_some(names)})"
        hint = "give --class-order numeric or --class-order text"
    elif max(numbers) < classes:
        shown = dict(zip(names, by_number, strict=True))
        some = ", ".join(f"{name} is class {label}" for name, label in list(shown.items())[:SHOWN])
        readings = f"as class numbers of the model ({some}) or counted from 0 in text order"
        hint = "give --class-order numeric or --class-order text"
    else:
        return
    raise UsageError(f"the classes in {where} can be read {readings}", f"{hint}, or FILE with the names in order")


def _by_number(
    names: tuple[str, ...], numbers: tuple[int, ...], classes: int, words: str, size: int | None, *, stated: bool
) -> _Placed:
    """Ranks where the names are as many as the model's classes; with fewer the numbers themselves, where they fit."""
    if len(names) < classes and max(numbers) < classes:
        return _Placed(numbers, ClassOrder("numeric", words, stated), (), size)
    rank = {number: place for place, number in enumerate(sorted(numbers))}
    labels = tuple(rank[number] for number in numbers)
    ordered = tuple(name for _, name in sorted(zip(labels, names, strict=True)))
    return _Placed(labels, ClassOrder("numeric", words, stated), ordered, size)


def _by_rank(names: tuple[str, ...], order: ClassOrder, size: int | None) -> _Placed:
    return _Placed(tuple(range(len(names))), order, names, size)


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
