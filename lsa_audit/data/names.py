"""Class names: the numbers and WordNet ids in them, and files that list them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError

IMAGENET_SETS = {
    1000: "imagenet-1k",
    1001: "imagenet-1k",
    11221: "imagenet-21k-miil",
    11821: "imagenet-12k",
    21841: "imagenet-22k",
    21842: "imagenet-22k-ms",
    21843: "imagenet-21k-goog",
}
"""Class count of a model -> the set whose WordNet ids it counts; with 1001 a background class is one of them."""
WORDNET_ID = re.compile(r"n\d{8}")
LEADING_NUMBER = re.compile(r"([0-9]{1,18})(?![0-9]).*", re.DOTALL)
TRAILING_NUMBER = re.compile(r"(\D+)([0-9]{1,18})")
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
FILE_BYTES = 2**22
FORM = "write one class name a line, in the model's order, or a JSON list of them"


@dataclass(frozen=True)
class Positions:
    """The places of WordNet ids in a set of `size` classes."""

    labels: tuple[int, ...]
    set_name: str
    size: int


def class_numbers(names: Sequence[str]) -> tuple[int, ...] | None:
    """The number in each name, where all begin with one, end with one after the same text, or are one in words.

    None where one has none, or two have the same: then they number nothing.

    >>> class_numbers(["0", "10", "2"]), class_numbers(["7_dog", "10_cat"]), class_numbers(["A310", "DC10"])
    ((0, 10, 2), (7, 10), None)
    """
    leading = [LEADING_NUMBER.fullmatch(name) for name in names]
    trailing = [TRAILING_NUMBER.fullmatch(name) for name in names]
    numbers: list[int]
    if all(leading):
        numbers = [int(match[1]) for match in leading if match]
    elif all(trailing) and len({match[1] for match in trailing if match}) == 1:
        numbers = [int(match[2]) for match in trailing if match]
    elif all(name.lower() in NUMBER_WORDS for name in names):
        numbers = [NUMBER_WORDS.index(name.lower()) for name in names]
    else:
        return None
    return tuple(numbers) if len(set(numbers)) == len(numbers) else None


def known_positions(names: Sequence[str], classes: int) -> Positions | None:
    """Places of WordNet ids in the ImageNet set of that many classes; None where one of the names is not among them."""
    subset = IMAGENET_SETS.get(classes)
    if subset is None or not all(WORDNET_ID.fullmatch(name) for name in names):
        return None
    from timm.data.imagenet_info import ImageNetInfo

    ids = ImageNetInfo(subset).label_names()  # type: ignore[no-untyped-call]
    place = {name: index for index, name in enumerate(ids)}
    if not all(name in place for name in names):
        return None
    return Positions(tuple(place[name] for name in names), subset, len(ids))


def places_in(listed: Sequence[str], names: Sequence[str]) -> tuple[int, ...] | None:
    """The place of each name in the list: as it is written, else but for case, spaces, underscores and hyphens.

    None where a name is not in it, or two names mean the same.
    """
    for key in (str, _plain):
        place = {key(name): index for index, name in enumerate(listed)}
        if len(place) == len(listed) and all(key(name) in place for name in names):
            found = tuple(place[key(name)] for name in names)
            return found if len(set(found)) == len(found) else None
    return None


def read_names(path: Path, keywords: Collection[str]) -> tuple[str, ...]:
    """The class names in a file: one a line, or JSON: a list, index -> name, name -> index, or these as `class_names`.

    A line or entry that begins with a WordNet id counts as that id.

    Args:
        keywords: what could have been meant instead of a file.

    Raises:
        DataError: no file, larger than 4 MiB, not UTF-8, no names in it, or one of them twice.
    """
    try:
        if not path.is_file():
            raise DataError(f"--class-order {path} is no file", f"use {', '.join(keywords)}, or a file")
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"--class-order {path} cannot be read: {error}", FORM) from None
    if len(content) > FILE_BYTES:
        raise DataError(f"--class-order {path} is larger than {FILE_BYTES} bytes", FORM)
    json_like = path.suffix.lower() == ".json" or text.lstrip()[:1] in ("[", "{")
    names = _from_json(text, path) if json_like else [line.strip() for line in text.splitlines() if line.strip()]
    names = [name.split(maxsplit=1)[0] if WORDNET_ID.match(name.split(maxsplit=1)[0]) else name for name in names]
    if not names:
        raise DataError(f"--class-order {path} names no class", FORM)
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise DataError(f"--class-order {path} names {twice!r} twice", FORM)
    return tuple(names)


def _from_json(text: str, path: Path) -> list[str]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"--class-order {path} is not JSON: {str(error)[:160]}", FORM) from None
    if isinstance(content, dict) and "class_names" in content:
        content = content["class_names"]
    if isinstance(content, dict):
        content = _by_index(content, path)
    listed = content if isinstance(content, list) else [content]
    # The imagenet_class_index.json in wide use has [id, name] for each class.
    names = [entry[0] if isinstance(entry, list) and entry else entry for entry in listed]
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"--class-order {path} holds other things than names", FORM)
    return [name.strip() for name in names]


def _by_index(content: dict[str, Any], path: Path) -> list[Any]:
    """Index -> name, or name -> index, as a list; every index from 0 must be there."""
    if all(isinstance(value, int) and not isinstance(value, bool) for value in content.values()):
        pairs = {value: name for name, value in content.items()}
    else:
        pairs = {int(key): value for key, value in content.items() if re.fullmatch(r"[0-9]{1,9}", key)}
    if len(pairs) != len(content) or sorted(pairs) != list(range(len(pairs))):
        raise DataError(f"--class-order {path} does not number the classes from 0 without a gap", FORM)
    return [pairs[index] for index in range(len(pairs))]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold()
