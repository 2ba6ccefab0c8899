"""The test splits of torchvision's small classics, downloaded on first use."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from ..errors import DataError
from .arrays import Arrays, build
from .base import DataRequest, Dataset, InputSpec


@dataclass(frozen=True)
class OfficialSplit:
    """How torchvision names a test split, and what it must hold."""

    class_name: str
    split: tuple[str, str | bool]
    labels: str
    classes: int


SPLITS = {
    "mnist": OfficialSplit("MNIST", ("train", False), "targets", 10),
    "fashion-mnist": OfficialSplit("FashionMNIST", ("train", False), "targets", 10),
    "cifar10": OfficialSplit("CIFAR10", ("train", False), "targets", 10),
    "cifar100": OfficialSplit("CIFAR100", ("train", False), "targets", 100),
    "svhn": OfficialSplit("SVHN", ("split", "test"), "labels", 10),
}


def load(request: DataRequest, spec: InputSpec) -> Dataset:
    """The official test images in their official order.

    Raises:
        DataError: the files are missing, damaged, or cannot be downloaded.
        UsageError: a choice that makes no sense.

    Cost: one download on first use (10 to 170 MB), then the whole test split is read.
    """
    member = SPLITS[request.spec]
    root = default_root() if request.root is None else request.root.expanduser()
    data = _open(request, member, root)
    class_names = tuple(str(name) for name in getattr(data, "classes", ()))
    arrays = Arrays(
        images=numpy.asarray(data.data),
        labels=numpy.asarray(getattr(data, member.labels)),
        name=request.spec,
        loader=request.spec,
        where=request.spec,
        classes=member.classes,
        class_names=class_names,
    )
    return build(arrays, request, spec)


def default_root() -> Path:
    """The user's cache folder for data."""
    from platformdirs import user_cache_path

    return user_cache_path("lsa-audit") / "data"


def _open(request: DataRequest, member: OfficialSplit, root: Path) -> Any:
    """torchvision's own object, made in silence: stdout belongs to the caller and torchvision draws bars."""
    from torchvision import datasets

    argument, value = member.split
    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            maker = getattr(datasets, member.class_name)
            return maker(str(root), download=not request.offline, **{argument: value})
    except Exception as error:  # sockets, archives and four parsers each have errors of their own
        lines = str(error).strip().splitlines()
        reason = lines[-1].partition(" You can use download=True")[0] if lines else type(error).__name__
        state = "is not complete" if request.offline else "could not be downloaded or read"
        way_out = "allow downloading (no --offline)" if request.offline else "with --offline nothing is downloaded"
        hint = f"give --data-root with the files already there; {way_out}; or give an .npz instead"
        raise DataError(f"{request.spec} {state} under {root}: {reason}", hint) from error
