"""The official parts of torchvision's small classics, downloaded on first use."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from ..errors import DataError
from .arrays import Arrays, build
from .base import DataRequest, Dataset, InputSpec
from .parts import PARTS, TEST, TRAIN, split_name

IS_TRAIN: dict[str, str | bool] = {TRAIN: True, TEST: False}


@dataclass(frozen=True)
class OfficialSplit:
    """How torchvision names the parts of a set, and what it must hold."""

    class_name: str
    argument: str
    values: Mapping[str, str | bool]
    labels: str
    classes: int


SPLITS = {
    "mnist": OfficialSplit("MNIST", "train", IS_TRAIN, "targets", 10),
    "fashion-mnist": OfficialSplit("FashionMNIST", "train", IS_TRAIN, "targets", 10),
    "cifar10": OfficialSplit("CIFAR10", "train", IS_TRAIN, "targets", 10),
    "cifar100": OfficialSplit("CIFAR100", "train", IS_TRAIN, "targets", 100),
    "svhn": OfficialSplit("SVHN", "split", {part: part for part in PARTS}, "labels", 10),
}


def load(request: DataRequest, spec: InputSpec) -> Dataset:
    """The official test images in their official order, or with `NAME:train` the training images.

    Raises:
        DataError: the files are missing, damaged, or cannot be downloaded.
        UsageError: a choice that makes no sense.

    Cost: one download on first use (10 to 240 MB), then the whole part is read.
    """
    found = split_name(request.spec, SPLITS)
    if found is None:
        raise KeyError(request.spec)
    member, part = SPLITS[found.name], found.part or TEST
    root = default_root() if request.root is None else request.root.expanduser()
    data = _open(request, member, root, part)
    class_names = tuple(str(name) for name in getattr(data, "classes", ()))
    arrays = Arrays(
        images=numpy.asarray(data.data),
        labels=numpy.asarray(getattr(data, member.labels)),
        name=found.name if part == TEST else request.spec,
        loader=found.name,
        where=request.spec,
        classes=member.classes,
        class_names=class_names,
    )
    return build(arrays, request, spec)


def default_root() -> Path:
    """The user's cache folder for data."""
    from platformdirs import user_cache_path

    return user_cache_path("lsa-audit") / "data"


def _open(request: DataRequest, member: OfficialSplit, root: Path, part: str) -> Any:
    """torchvision's own object, made in silence: stdout belongs to the caller and torchvision draws bars."""
    from torchvision import datasets

    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            maker = getattr(datasets, member.class_name)
            return maker(str(root), download=not request.offline, **{member.argument: member.values[part]})
    except Exception as error:  # sockets, archives and four parsers each have errors of their own
        lines = str(error).strip().splitlines()
        reason = lines[-1].partition(" You can use download=True")[0] if lines else type(error).__name__
        state = "is not complete" if request.offline else "could not be downloaded or read"
        way_out = "allow downloading (no --offline)" if request.offline else "with --offline nothing is downloaded"
        hint = f"give --data-root with the files already there; {way_out}; or give an .npz instead"
        raise DataError(f"{request.spec} {state} under {root}: {reason}", hint) from error
