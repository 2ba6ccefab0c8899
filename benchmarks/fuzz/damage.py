"""Ways to damage bytes and trees of plain values."""

from __future__ import annotations

import copy
import io
import zipfile
from typing import Any

from numpy.random import Generator

from .case import NASTY, pick


def damaged(draws: Generator, content: bytes) -> tuple[bytes, str]:
    """The bytes after one to three random changes, and their names."""
    names = []
    for _ in range(int(draws.integers(1, 4))):
        change = pick(draws, CHANGES)
        content = change(draws, content)
        names.append(change.__name__)
    return content, "+".join(names)


def flip(draws: Generator, content: bytes) -> bytes:
    """One to sixteen bits are turned."""
    changed = bytearray(content)
    for _ in range(int(draws.integers(1, 17))):
        if changed:
            changed[int(draws.integers(len(changed)))] ^= 1 << int(draws.integers(8))
    return bytes(changed)


def cut(draws: Generator, content: bytes) -> bytes:
    """The end is missing."""
    return content[: int(draws.integers(len(content) + 1))]


def behead(draws: Generator, content: bytes) -> bytes:
    """The start is missing."""
    return content[int(draws.integers(min(len(content), 600) + 1)) :]


def grow(draws: Generator, content: bytes) -> bytes:
    """Random bytes stand in the middle."""
    place = int(draws.integers(len(content) + 1))
    return content[:place] + draws.bytes(int(draws.integers(1, 200))) + content[place:]


def blank(draws: Generator, content: bytes) -> bytes:
    """A stretch is zero, or 0xff."""
    place, length = int(draws.integers(len(content) + 1)), int(draws.integers(1, 300))
    return content[:place] + pick(draws, (b"\x00", b"\xff")) * length + content[place + length :]


def repeat(draws: Generator, content: bytes) -> bytes:
    """A stretch stands twice."""
    place, length = int(draws.integers(len(content) + 1)), int(draws.integers(1, 2000))
    return content[: place + length] + content[place:]


CHANGES = (flip, flip, cut, behead, grow, blank, repeat)


def damaged_member(draws: Generator, content: bytes) -> tuple[bytes, str]:
    """A zip archive whose own structure is sound, with one damaged, missing or repeated member."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = pick(draws, list(members))
    short = name.rsplit("/", 1)[-1]
    what = pick(draws, ("damage", "damage", "damage", "remove", "exchange"))
    if what == "damage":
        members[name], how = damaged(draws, members[name])
    elif what == "remove":
        del members[name]
        how = "removed"
    else:
        other = pick(draws, list(members))
        members[name], members[other] = members[other], members[name]
        how = f"exchanged with {other.rsplit('/', 1)[-1]}"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member, value in members.items():
            archive.writestr(member, value)
    return stream.getvalue(), f"{short}: {how}"


def damaged_tree(draws: Generator, tree: Any) -> tuple[Any, str]:
    """A tree of lists and mappings in which one to three values are nonsense, missing or repeated."""
    tree = copy.deepcopy(tree)
    names = []
    for _ in range(int(draws.integers(1, 4))):
        places = list(_places(tree, ()))
        if not places:
            break
        path = pick(draws, places)
        parent = tree
        for part in path[:-1]:
            parent = parent[part]
        what = pick(draws, ("nonsense", "nonsense", "neighbour", "remove", "repeat"))
        names.append(f"{what} {'.'.join(map(str, path))}")
        if what == "nonsense":
            parent[path[-1]] = pick(draws, NASTY)
        elif what == "neighbour":
            parent[path[-1]] = _neighbour(draws, parent[path[-1]])
        elif what == "remove":
            del parent[path[-1]]
        elif isinstance(parent, list):
            parent.insert(path[-1], copy.deepcopy(parent[path[-1]]))
        else:
            parent[f"{path[-1]}_"] = copy.deepcopy(parent[path[-1]])
    return tree, "; ".join(names)[:80]


def _places(tree: Any, path: tuple[Any, ...]) -> Any:
    """Every path to a value; of long lists only the first few."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree[:4]) if isinstance(tree, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from _places(value, (*path, key))


def _neighbour(draws: Generator, value: Any) -> Any:
    """A value of the same kind that is a little off."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return pick(draws, (value + 1, value - 1, -value, value * 1000, value / 3))
    if isinstance(value, str):
        return pick(draws, (value[::-1], value[:-1], value + "\u00e9", value.upper()))
    if isinstance(value, list):
        return pick(draws, (value[:-1], value[::-1], value * 2))
    return value
