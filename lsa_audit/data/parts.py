"""The parts of a named data set: `cifar10:train`, `cifar10:test`. A leaf: no torch, no numpy."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from ..errors import DataError

TRAIN, TEST = "train", "test"
PARTS = (TRAIN, TEST)


class Named(NamedTuple):
    """A named set, and the part of it that was asked for; None where no part was named."""

    name: str
    part: str | None


def split_name(spec: str, names: Collection[str]) -> Named | None:
    """The set and its part; None for a path, whatever colons are in it.

    Args:
        names: of the sets that are asked for by name.

    Raises:
        DataError: a named set has no such part.

    >>> split_name("digits:train", {"digits"}), split_name("digits", {"digits"}), split_name("C:train", {"digits"})
    (Named(name='digits', part='train'), Named(name='digits', part=None), None)
    """
    name, colon, part = spec.partition(":")
    if name not in names:
        return None
    if not colon:
        return Named(name, None)
    if part not in PARTS:
        there = " and ".join(f"{name}:{known}" for known in PARTS)
        raise DataError(f"{name} has no part {part!r}", f"its parts are {there}; a file of that name is ./{spec}")
    return Named(name, part)


def without_part(spec: str) -> str | None:
    """What stands before `:train` or `:test`; None where neither is at the end."""
    before, colon, part = spec.rpartition(":")
    return before if colon and before and part in PARTS else None
