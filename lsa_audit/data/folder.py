"""A folder of images: one subfolder for each class, or flat with a labels.csv."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy
from torch import Tensor

from ..errors import DataError
from .base import DataRequest, Dataset, InputSpec
from .labels import read_labels
from .photos import SUFFIXES, read_photos
from .source import Source, assemble

LIST_NAME = "labels.csv"
FILE_COLUMN, LABEL_COLUMN, IMAGENET_COLUMN = "file", "label", "imagenet_index"
IMAGENET_CLASSES = 1000
LONGEST_LABEL = 18
WORDNET_ID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Listing:
    """The files of a folder and their labels, nothing decoded yet.

    Attributes:
        names: [N] paths inside the folder, with forward slashes.
        labels: [N] class indices.
    """

    names: list[str]
    labels: list[int]
    interpretation: str
    classes: int | None = None
    class_names: tuple[str, ...] = ()


def load(request: DataRequest, spec: InputSpec) -> Dataset:
    """The images of a folder. A labels.csv at its top wins over class folders.

    Raises:
        DataError: no images, a damaged list or image, sizes or channels that do not fit.
        UsageError: a choice that makes no sense.

    Cost: only the chosen images are opened.
    """
    folder = Path(request.spec).expanduser()
    if not folder.is_dir():
        raise DataError(f"{request.spec} is not a folder", "check the path")
    try:
        listing = _read_list(folder) if (folder / LIST_NAME).is_file() else _read_class_folders(folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}", "check its permissions") from error
    if not listing.names:
        raise DataError(f"{folder} holds no images", f"give class folders, or images with a {LIST_NAME}")
    labels, _ = read_labels(numpy.array(listing.labels), request.spec)

    def read(indices: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        return read_photos(folder, [listing.names[index] for index in indices.tolist()], spec)

    source = Source(
        name=folder.resolve().name,
        loader="folder",
        interpretation=listing.interpretation,
        labels=labels,
        image_ids=listing.names,
        read=read,
        classes=listing.classes,
        class_names=listing.class_names,
    )
    return assemble(source, request)


def _read_list(folder: Path) -> Listing:
    """labels.csv: columns `file` and `label` (or `imagenet_index`, the position in the sorted ImageNet-1k ids)."""
    path = folder / LIST_NAME
    names: list[str] = []
    labels: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = [column.strip() for column in reader.fieldnames or []]
            reader.fieldnames = columns
            label_column = LABEL_COLUMN if LABEL_COLUMN in columns else IMAGENET_COLUMN
            for column in (FILE_COLUMN, label_column):
                if columns.count(column) != 1:
                    there = ", ".join(columns) or "nothing"
                    hint = f"its first line must name {FILE_COLUMN} and {LABEL_COLUMN} (or {IMAGENET_COLUMN}) once each"
                    raise DataError(f"{path} has no clear column {column} (its first line: {there})", hint)
            root = folder.resolve()
            for row in reader:
                where = f"{path} line {reader.line_num}"
                names.append(_inside(root, row[FILE_COLUMN], where))
                labels.append(_label(row[label_column], where))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a readable CSV file: {error}", "save it as UTF-8 with commas") from error
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"{path} names {twice} more than once", "keep one line per image")
    imagenet = label_column == IMAGENET_COLUMN
    if imagenet and max(labels, default=0) >= IMAGENET_CLASSES:
        raise DataError(f"{path}: {IMAGENET_COLUMN} {max(labels)} is above {IMAGENET_CLASSES - 1}", "check the column")
    text = f"images with {LIST_NAME}, labels from column {label_column}"
    return Listing(names, labels, text, classes=IMAGENET_CLASSES if imagenet else None)


def _inside(root: Path, text: str | None, where: str) -> str:
    """The path as written, once it is sure that it leads to nothing outside the folder."""
    if not text or not text.strip():
        raise DataError(f"{where} names no file", f"give a path inside the folder in column {FILE_COLUMN}")
    name = PurePosixPath(text.strip())
    try:
        stays = not name.is_absolute() and (root / name).resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{where}: {text!r} is not a path", "give a path inside the folder") from error
    if not stays:
        raise DataError(f"{where}: {text} leads outside the folder", "give a path inside the folder")
    return str(name)


def _label(text: str | None, where: str) -> int:
    text = (text or "").strip()
    if not (text.isascii() and text.isdigit()) or len(text) > LONGEST_LABEL:
        raise DataError(f"{where}: label {text!r} is not a class index", "labels are whole numbers from 0")
    return int(text)


def _read_class_folders(folder: Path) -> Listing:
    """Sorted folder names are the class indices, or the ImageNet-1k positions where all are ids of that set."""
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        hint = f"give class folders, or a {LIST_NAME} with columns {FILE_COLUMN} and {LABEL_COLUMN}"
        raise DataError(f"{folder} holds neither class folders nor {LIST_NAME}", hint)
    positions = _imagenet_positions(classes)
    names: list[str] = []
    labels: list[int] = []
    ignored = 0
    for index, class_name in enumerate(classes):
        entries = sorted(entry.name for entry in (folder / class_name).iterdir() if not entry.name.startswith("."))
        images = [name for name in entries if Path(name).suffix.lower() in SUFFIXES]
        if not images:
            hint = "remove it, or give the folder whose subfolders hold the images (e.g. its val or test folder)"
            raise DataError(f"class folder {class_name} in {folder} holds no images", hint)
        ignored += len(entries) - len(images)
        names += [f"{class_name}/{name}" for name in images]
        labels += [positions[index] if positions else index] * len(images)
    note = f"; other files ignored: {ignored}" if ignored else ""
    if positions:
        text = f"{len(classes)} class folders named by WordNet id, labels are ImageNet-1k positions{note}"
        return Listing(names, labels, text, classes=IMAGENET_CLASSES)
    text = f"{len(classes)} class folders, labels by sorted name{note}"
    return Listing(names, labels, text, classes=len(classes), class_names=tuple(classes))


def _imagenet_positions(classes: list[str]) -> list[int] | None:
    """The position of each class folder in the sorted ImageNet-1k ids, or None where one is not among them."""
    if not all(WORDNET_ID.fullmatch(name) for name in classes):
        return None
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    positions = {info.index_to_label_name(index): index for index in range(IMAGENET_CLASSES)}
    if not all(name in positions for name in classes):
        return None
    return [positions[name] for name in classes]
