"""Finds the class folders of a folder and the images below each, as they are found by the common loaders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from .photos import SUFFIXES

NO_CLASSES = frozenset({"__pycache__", "__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})
"""Folders that programs and systems leave, in small letters; those that begin with a dot are none either."""
DEEPEST = 64
PARTS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "dev", "holdout"})
"""Names of the parts of a data set, in small letters."""


@dataclass(frozen=True)
class FoundFolders:
    """The images of class folders, nothing decoded yet.

    Attributes:
        classes: names of the folders, as text sorts them.
        names: [N] paths inside the folder, with forward slashes.
        labels: [N] position in `classes`.
        ignored: files below class folders that are no images by their suffix.
        loose: images that lie in no class folder.
    """

    classes: tuple[str, ...]
    names: list[str]
    labels: list[int]
    ignored: int
    loose: int


def class_folders(folder: Path, *, told: bool = False) -> FoundFolders:
    """The class folders and every image below them: files of a folder first, then its subfolders, both sorted.

    Args:
        told: the user says how the folders count, so they are classes.

    Raises:
        DataError: a class folder without images, or folders that may be the parts of a data set instead of its classes.
        OSError: a folder cannot be read.
    """
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if is_class(entry)))
    names: list[str] = []
    labels: list[int] = []
    ignored = 0
    for index, class_name in enumerate(classes):
        images = []
        for name in _files(folder / class_name, class_name):
            if Path(name).suffix.lower() in SUFFIXES:
                images.append(name)
            else:
                ignored += 1
        if not images:
            hint = "remove it, or give the folder whose subfolders hold the images (e.g. its val or test folder)"
            raise DataError(f"class folder {class_name} in {folder} holds no images", hint)
        names += images
        labels += [index] * len(images)
    if classes and not told:
        _refuse_parts(folder, classes, names)
    loose = sum(is_image(entry) for entry in folder.iterdir())
    return FoundFolders(classes, names, labels, ignored, loose)


def is_class(entry: Path) -> bool:
    """Whether this is a folder that may be a class."""
    return not entry.name.startswith(".") and entry.name.lower() not in NO_CLASSES and entry.is_dir()


def is_image(entry: Path) -> bool:
    """Whether this is a visible file with the suffix of an image."""
    return not entry.name.startswith(".") and entry.suffix.lower() in SUFFIXES and entry.is_file()


def _files(folder: Path, inside: str, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Paths of the visible regular files below a folder, behind `inside`; links are followed, but not in circles."""
    real = os.path.realpath(folder)
    if real in above:
        return
    if len(above) >= DEEPEST:
        raise DataError(f"class folder {inside.partition('/')[0]} holds folders {DEEPEST} deep", "give another folder")
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    yield from (f"{inside}/{entry.name}" for entry in listed if not entry.name.startswith(".") and entry.is_file())
    for entry in listed:
        if is_class(Path(entry.path)):
            yield from _files(Path(entry.path), f"{inside}/{entry.name}", above | {real})


def _refuse_parts(folder: Path, classes: tuple[str, ...], names: list[str]) -> None:
    """Raises DataError where what lies below the folders looks like the classes, and the folders like their parts."""
    below: dict[str, set[str]] = {name: set() for name in classes}
    for name in names:
        class_name, inner, *deeper = name.split("/")
        below[class_name].add(inner if deeper else "")
    first = below[classes[0]]
    same = len(first) > 1 and "" not in first and all(entry == first for entry in below.values())
    wrapped = len(classes) == 1 and "" not in first
    if same or wrapped or all(name.lower() in PARTS for name in classes):
        shown = ", ".join(classes[:4]) + (" ..." if len(classes) > 4 else "")
        inner = f" or those inside {classes[0]} ({', '.join(sorted(first)[:3])} ...)" if "" not in first else ""
        hint = f"give one of them, e.g. {folder / classes[0]}, or --class-order text if {shown} are the classes"
        raise DataError(f"{folder}: the classes can be its folders ({shown}){inner}", hint)
