"""A folder of images: one subfolder for each class, or flat with a labels.csv."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy
from torch import Tensor

from ..errors import DataError
from .base import DataRequest, Dataset, InputSpec, Naming
from .labels import read_labels
from .photos import SUFFIXES, read_photos
from .source import Source, assemble
from .walking import class_folders

LIST_NAME = "labels.csv"
FILE_COLUMN, LABEL_COLUMN, IMAGENET_COLUMN = "file", "label", "imagenet_index"
IMAGENET_CLASSES = 1000
LONGEST_LABEL = 18


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
    naming: Naming | None = None


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
        told = request.class_order is not None
        listing = _read_list(folder) if (folder / LIST_NAME).is_file() else _read_class_folders(folder, told=told)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}", "check its permissions") from error
    if not listing.names:
        raise DataError(f"{folder} holds no images", f"give class folders, or images with a {LIST_NAME}")
    labels, _ = read_labels(numpy.array(listing.labels), request.spec)
    naming = listing.naming

    def read(indices: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        return read_photos(folder, [listing.names[index] for index in indices.tolist()], spec)

    source = Source(
        name=folder.resolve().name,
        loader="folder",
        interpretation=listing.interpretation,
        labels=labels,
        image_ids=listing.names,
        read=read,
        classes=listing.classes if naming is None else len(naming.names),
        class_names=() if naming is None else naming.names,
        naming=naming,
    )
    return assemble(source, request)


def _read_list(folder: Path) -> Listing:
    """labels.csv: columns `file` and `label` (or `imagenet_index`, the position in the sorted ImageNet-1k ids).

    Labels are class indices or class names. Without a header, two columns are file and label.
    """
    path = folder / LIST_NAME
    names: list[str] = []
    texts: list[str] = []
    wheres: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = [column.strip() for column in reader.fieldnames or []]
            if len(columns) == 2 and PurePosixPath(columns[0]).suffix.lower() in SUFFIXES:
                stream.seek(0)
                columns = [FILE_COLUMN, LABEL_COLUMN]
                reader = csv.DictReader(stream)
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
                texts.append((row[label_column] or "").strip())
                wheres.append(where)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a readable CSV file: {error}", "save it as UTF-8 with commas") from error
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"{path} names {twice} more than once", "keep one line per image")
    text = f"images with {LIST_NAME}, labels from column {label_column}"
    if label_column == LABEL_COLUMN and texts and all(map(_is_name, texts)):
        place = {name: index for index, name in enumerate(sorted(set(texts)))}
        naming = Naming(tuple(place), str(path), folders=False)
        return Listing(names, [place[name] for name in texts], text, naming=naming)
    labels = [_label(text, where) for text, where in zip(texts, wheres, strict=True)]
    imagenet = label_column == IMAGENET_COLUMN
    if imagenet and max(labels, default=0) >= IMAGENET_CLASSES:
        raise DataError(f"{path}: {IMAGENET_COLUMN} {max(labels)} is above {IMAGENET_CLASSES - 1}", "check the column")
    return Listing(names, labels, text, classes=IMAGENET_CLASSES if imagenet else None)


def _inside(root: Path, text: str | None, where: str) -> str:
    """The path as written, once it is sure that it leads to nothing outside the folder."""
    if not text or not text.strip():
        raise DataError(f"{where} names no file", f"give a path inside the folder in column {FILE_COLUMN}")
    name = PurePosixPath(text.strip())
    try:
        if "\\" in text and not (root / name).exists():
            # Written on Windows; on other systems a backslash may be a part of a name.
            name = PurePosixPath(text.strip().replace("\\", "/"))
        stays = not name.is_absolute() and (root / name).resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{where}: {text!r} is not a path", "give a path inside the folder") from error
    if not stays:
        raise DataError(f"{where}: {text} leads outside the folder", "give a path inside the folder")
    return str(name)


def _is_name(text: str) -> bool:
    """Whether this is the name of a class; numbers of any form and nothing are none."""
    try:
        float(text)
    except ValueError:
        return bool(text)
    return False


def _label(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > LONGEST_LABEL:
        raise DataError(f"{where}: label {text!r} is not a class index", "labels are whole numbers from 0")
    return int(text)


def _read_class_folders(folder: Path, *, told: bool) -> Listing:
    """Class folders, counted in the order of their sorted names until the model is known."""
    found = class_folders(folder, told=told)
    if not found.classes:
        hint = f"give class folders, or a {LIST_NAME} with columns {FILE_COLUMN} and {LABEL_COLUMN}"
        raise DataError(f"{folder} holds neither class folders nor {LIST_NAME}", hint)
    notes = {"other files ignored": found.ignored, "images outside the class folders ignored": found.loose}
    note = "".join(f"; {what}: {count}" for what, count in notes.items() if count)
    naming = Naming(found.classes, folder.name, folders=True, note=note)
    return Listing(found.names, found.labels, f"{len(found.classes)} class folders", naming=naming)
