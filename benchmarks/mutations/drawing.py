"""The mutations that are tried: as many of each kind, by seed, from the code at hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .sites import KINDS, Mutation, changes, mutations


def every(root: Path, package: str = "lsa_audit") -> list[Mutation]:
    """Every mutation of a package, by path and place."""
    paths = sorted((root / package).rglob("*.py"))
    return [entry for path in paths for entry in mutations(path.relative_to(root).as_posix(), path.read_bytes())]


def draw(root: Path, found: list[Mutation], count: int, seed: int) -> list[Mutation]:
    """`count` mutations: the kinds take turns, each with the sites that a hash of the seed puts first.

    A site keeps its place while other code changes, so that most of a draw is the same after an edit.
    """
    ranked = {kind: _ranked([entry for entry in found if entry.kind == kind], seed) for kind in KINDS}
    queues = {
        kind: (entry for entry in entries if changes(entry, (root / entry.path).read_bytes()))
        for kind, entries in ranked.items()
    }
    chosen: list[Mutation] = []
    while queues and len(chosen) < count:
        for kind in list(queues):
            entry = next(queues[kind], None)
            if entry is None:
                del queues[kind]
            elif len(chosen) < count:
                chosen.append(entry)
    return chosen


def _ranked(found: list[Mutation], seed: int) -> list[Mutation]:
    unique = {entry.key: entry for entry in reversed(found)}
    return sorted(
        unique.values(), key=lambda entry: hashlib.sha256("\0".join([str(seed), *entry.key]).encode()).digest()
    )
