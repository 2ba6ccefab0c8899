"""How far the nearest misclassified images lie, by the attacks that look for them."""

from __future__ import annotations

from collections.abc import Iterator

from ...page import text
from ...page.view import Column, Row, Table
from ...records import AttackResult, AuditRecord, Distances
from .. import selection

NOTE = (
    "Distance from each image to the nearest misclassified one that the attack found anywhere, on pixels in [0, 1], "
    "over the images that are right before; an image for which none was found counts as further than all others. "
    "Interval of the median: 95 % bootstrap over the images."
)


def table(record: AuditRecord) -> Table | None:
    """One row for each attack and norm; None without such an attack."""
    columns = (
        Column("attack", "label"),
        Column("norm"),
        Column("found", "number"),
        Column("quartile", "number"),
        Column("median", "number"),
        Column("95 % interval", "number"),
        Column("upper quartile", "number"),
    )
    rows = tuple(_row(result, distances) for result, distances in _measured(record))
    return Table("Distance to the nearest misclassified image", columns, rows, NOTE) if rows else None


def sentences(record: AuditRecord) -> Iterator[str]:
    """One short line for each attack and norm."""
    for result, distances in _measured(record):
        attack = f"{selection.attack_name(result.perturbation)} {result.perturbation.norm}"
        interval = _median_interval(distances)
        yield (
            f"{attack}: median distance {text.number(distances.median)}, 95 % interval {interval}, "
            f"found for {distances.found:,} of {distances.total:,}."
        )


def _measured(record: AuditRecord) -> Iterator[tuple[AttackResult, Distances]]:
    """The same distances stand at every epsilon of an attack: its first result speaks for all."""
    seen = set()
    for result in record.attacks:
        key = (selection.attack_name(result.perturbation), result.perturbation.norm)
        if result.distances is not None and key not in seen:
            seen.add(key)
            yield result, result.distances


def _row(result: AttackResult, distances: Distances) -> Row:
    return Row(
        (
            selection.attack_name(result.perturbation),
            result.perturbation.norm,
            f"{distances.found:,} of {distances.total:,}",
            text.number(distances.quartile),
            text.number(distances.median),
            _median_interval(distances),
            text.number(distances.upper_quartile),
        )
    )


def _median_interval(distances: Distances) -> str:
    if distances.median_low is not None and distances.median_high is None:
        return f"above {text.number(distances.median_low)}"
    return text.number_range(distances.median_low, distances.median_high)
