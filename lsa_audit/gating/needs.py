"""How many images the gates of a baseline need before they can decide on a new version. Pure.

A limit on a drop rests on the images whose verdict changes from one version to the next. How many will is not known
before there is a next one: two assumptions give two numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..records.snapshot import Snapshot
from ..settings.gates import Gate, split
from ..stats.paired import images_needed
from ..units import format_percent, format_points, quantity
from . import accuracy
from .asking import LimitQuestion
from .layers import FEWEST_IMAGES

CHANGING = 0.05
"""Share of the images whose verdict changes, as many of them lost as gained."""


@dataclass(frozen=True)
class Need:
    """What some limits need.

    Attributes:
        limits: in words.
        stable: images with which a drop within the limit is shown, with a probability of 0.8, if no verdict changes;
            None where no number would do.
        changing: the same if `CHANGING` of the verdicts change and the accuracy does not.
    """

    limits: str
    stable: int | None
    changing: int | None


def needs(run: Snapshot, gates: Mapping[str, Gate]) -> tuple[Need, ...]:
    """What the limits on drops need, those with the same limit and alpha together.

    Raises:
        UsageError: a gate names a ball or a perturbation that was not run.
    """
    drops = [entry for entry in accuracy.ask(run, run, gates) if entry.limit == "max_drop" and not entry.missing]
    groups: dict[tuple[float, float], list[LimitQuestion]] = {}
    for entry in drops:
        groups.setdefault((entry.allowed, entry.gate.alpha), []).append(entry)
    return tuple(
        Need(
            f"{_kinds(entries)}, a drop of at most {format_points(margin)} points",
            images_needed(0.0, 0.0, margin, alpha),
            images_needed(CHANGING, 0.0, margin, alpha),
        )
        for (margin, alpha), entries in groups.items()
    )


def said(run: Snapshot, gates: Mapping[str, Gate]) -> Iterator[str]:
    """The same in sentences, with what limits on layers need, and whether the run has as many."""
    there = run.clean.count
    for need in needs(run, gates):
        if need.stable is None or need.changing is None:
            yield f"{need.limits}: no number of images can show that; only the same weights with the same verdicts pass"
            continue
        short = f"; this run has {there:,}" if there < need.changing else f"; this run's {there:,} are enough"
        yield (
            f"{need.limits}: about {quantity(need.stable, 'image')} if no verdict changes, about {need.changing:,} if "
            f"{format_percent(CHANGING)} of the verdicts change and the accuracy does not{short}"
        )
    layers = any(split(key)[0] == "relative_error" and gate.level != "off" for key, gate in gates.items())
    if layers and there < FEWEST_IMAGES:
        yield f"relative_error: at least {FEWEST_IMAGES} images; this run has {there:,}"


def _kinds(entries: Sequence[LimitQuestion]) -> str:
    return " and ".join(dict.fromkeys(entry.kind for entry in entries))
