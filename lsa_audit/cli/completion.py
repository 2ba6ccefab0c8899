"""What a shell completes: a callback for each kind of value, which gives names and what they are. No torch."""

from __future__ import annotations

from typing import get_args

from .topics import SCHEMAS, TOPICS, catalogue, rows
from .topics import explained as titles

Values = list[tuple[str, str]]
"""Names that fit what was typed so far, each with what it is."""


def attacks(incomplete: str) -> Values:
    """Attacks, also behind a comma."""
    return _behind_commas(incomplete, _catalogue("attack"))


def noises(incomplete: str) -> Values:
    """Noises, also behind a comma."""
    return _behind_commas(incomplete, {**_catalogue("noise"), "none": "no noise"})


def data(incomplete: str) -> Values:
    """Data sets that are asked for by name."""
    from ..data import LOADERS

    return _fitting(incomplete, {name: loader.summary for name, loader in LOADERS.items() if loader.named})


def norms(incomplete: str) -> Values:
    """Shapes of the ball."""
    from ..records import Norm

    return _fitting(incomplete, dict.fromkeys(get_args(Norm), ""))


def profiles(incomplete: str) -> Values:
    """The profiles that come with the program."""
    return _fitting(incomplete, {row["name"]: row["what"] for row in rows("profiles")})


def presets(incomplete: str) -> Values:
    """The presets of gates."""
    return _explained(incomplete, "presets")


def measures(incomplete: str) -> Values:
    """How the movement of a layer is measured."""
    return _explained(incomplete, "measures")


def formats(incomplete: str) -> Values:
    """Formats of reports."""
    return _fitting(incomplete, {row["name"]: row["file"] for row in rows("formats")})


def diff_formats(incomplete: str) -> Values:
    """How a diff is shown."""
    from ..reporting.diff import FORMATS

    return _fitting(incomplete, dict.fromkeys(FORMATS, ""))


def outputs(incomplete: str) -> Values:
    """FORMAT= of `--output FORMAT=FILE`; the file is the user's."""
    return [(f"{name}=", file) for name, file in formats(incomplete)]


def topics(incomplete: str) -> Values:
    """What `list` lists."""
    return _fitting(incomplete, {name: topic.what for name, topic in TOPICS.items()})


def schemas(incomplete: str) -> Values:
    """Files that have a schema."""
    return _fitting(incomplete, SCHEMAS)


def explained(incomplete: str) -> Values:
    """Every id that `explain` knows."""
    return [value for topic in catalogue() for value in _explained(incomplete, topic)]


def _catalogue(kind: str) -> dict[str, str]:
    from ..attacks import ATTACKS

    return {name: entry.summary for name, entry in ATTACKS.items() if entry.kind == kind}


def _explained(incomplete: str, topic: str) -> Values:
    return _fitting(incomplete, {row["name"]: row["what"] for row in titles(topic)})


def _fitting(incomplete: str, names: dict[str, str]) -> Values:
    return [(name, what) for name, what in names.items() if name.startswith(incomplete)]


def _behind_commas(incomplete: str, names: dict[str, str]) -> Values:
    """The last name of a list is completed; the ones before it stay and are not offered again."""
    before, comma, last = incomplete.rpartition(",")
    chosen = before.split(",")
    return [(f"{before}{comma}{name}", what) for name, what in _fitting(last, names) if name not in chosen]
