"""Which arrays of an archive are images and labels: pairs of names in common use, and the parts they stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, UsageError

PARTNERS = {
    "images": ("labels", "targets"),
    "image": ("label", "target"),
    "imgs": ("labels", "targets"),
    "img": ("label", "target"),
    "x": ("y", "labels"),
    "data": ("targets", "target", "labels"),
    "inputs": ("targets", "labels"),
    "arr_0": ("arr_1",),
}
"""Word for images -> the words for labels that go with it."""
LABEL_WORDS = frozenset(word for words in PARTNERS.values() for word in words)
PART_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Word in a name -> the part that it stands for."""
GLUED = re.compile(rf"([xy])({'|'.join(PART_WORDS)})|({'|'.join(PART_WORDS)})([xy])")
PARTS = ("train", "val", "test")
LAYOUT_KEY = "layout"
SUFFIX = re.compile(r"(.+\.npz):([A-Za-z]+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class ArrayPair:
    """Names of the images and labels of a part; `several`: the archive holds other pairs as well."""

    images: str
    labels: str
    part: str | None
    several: bool = False


def split_part(spec: str) -> tuple[Path, str | None]:
    """`FILE.npz:test` -> the file and `test`; a file whose own name ends so goes first.

    Raises:
        UsageError: no such part.
    """
    path = Path(spec).expanduser()
    match = SUFFIX.fullmatch(spec)
    if match is None or path.exists():
        return path, None
    part = PART_WORDS.get(match[2].lower())
    if part is None:
        raise UsageError(
            f"data {spec} names no part of {match[1]}", f"write one of {', '.join(PARTS)} behind the colon"
        )
    return Path(match[1]).expanduser(), part


def wanted_keys(keys: Sequence[str], part: str | None) -> set[str]:
    """The arrays to read: those of the part that will be used, and the layout."""
    pairs = _pairs(keys)
    chosen = [pair for pair in pairs if part in (None, pair.part)]
    return {LAYOUT_KEY, *((chosen[0].images, chosen[0].labels) if len(chosen) == 1 else ())}


def chosen_pair(keys: Sequence[str], path: Path, part: str | None) -> ArrayPair:
    """The one pair of images and labels, or that of the part.

    Raises:
        DataError: none, or several that no part tells apart.
        UsageError: several parts, and none is named; or the named one is not there.
    """
    pairs = _pairs(keys)
    there = ", ".join(keys) or "nothing"
    chosen = [pair for pair in pairs if part in (None, pair.part)]
    parts = [name for name in PARTS if any(pair.part == name for pair in pairs)]
    if part is not None and not chosen:
        raise UsageError(f"{path.name} holds no {part} images and labels (it holds: {there})", _options(path, parts))
    if len(chosen) == 1:
        (pair,) = chosen
        return ArrayPair(pair.images, pair.labels, pair.part, several=len(pairs) > 1)
    if len(parts) == len(chosen) > 1:
        raise UsageError(f"{path.name} holds {' and '.join(parts)} images", _options(path, parts))
    state = "several pairs" if pairs else "no pair"
    hint = "keep one pair, e.g. images/labels, x/y, x_test/y_test or train_images/train_labels"
    raise DataError(f"{path.name} holds {state} of images and labels (it holds: {there})", hint)


def _options(path: Path, parts: Sequence[str]) -> str:
    return f"give --data {' or '.join(f'{path.name}:{name}' for name in parts)}" if parts else "leave the part out"


def _pairs(keys: Sequence[str]) -> list[ArrayPair]:
    """The pairs among the names of arrays: of the same part, and the only two of it or in words that go together."""
    read = {key: _words(key) for key in keys}
    images = [(key, *words) for key, words in read.items() if words[0] in PARTNERS]
    labels = [(key, *words) for key, words in read.items() if words[0] in LABEL_WORDS]
    pairs = []
    for image_key, image, part in images:
        fitting = [(key, label) for key, label, other in labels if other == part]
        if sum(other == part for _, _, other in images) > 1:
            fitting = [(key, label) for key, label in fitting if label in PARTNERS[image]]
        pairs += [ArrayPair(image_key, key, part) for key, _ in fitting]
    return pairs


def _words(key: str) -> tuple[str, str | None]:
    """The name of an array in small letters without the word for a part, and the part."""
    words: list[str] = []
    for word in re.split(r"[_\-. ]+", key.lower()):
        glued = GLUED.fullmatch(word)
        words += [part for part in glued.groups() if part] if glued else [word]
    parts = [PART_WORDS[word] for word in words if word in PART_WORDS]
    rest = "_".join(word for word in words if word and word not in PART_WORDS)
    return rest, parts[0] if len(parts) == 1 else None
