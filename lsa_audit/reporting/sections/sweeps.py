"""Breaking epsilons: at which epsilon of the settings the images first fall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...page import text
from ...page.view import Column, Row, Table
from ...records import AuditRecord, Norm, Sweep
from ...units import format_epsilon

NOTE = (
    "Share in % of the images that are right before, with its 95 % interval, by the smallest epsilon of the settings "
    "at which the attack fools them. Unbroken: none does. Median: breaking epsilon of the median image."
)


def tables(record: AuditRecord) -> Iterator[Table]:
    """One table for each norm, one row for each attack."""
    norms: dict[Norm, list[Sweep]] = {}
    for sweep in record.sweeps:
        norms.setdefault(sweep.norm, []).append(sweep)
    for norm, sweeps in norms.items():
        epsilons = sorted({epsilon for sweep in sweeps for epsilon in sweep.epsilons})
        columns = (
            Column("attack", "label"),
            *(Column(f"at {format_epsilon(epsilon)}", "number") for epsilon in epsilons),
            Column("unbroken", "number"),
            Column("median", "number"),
        )
        rows = tuple(_row(sweep, epsilons) for sweep in sweeps)
        yield Table(f"Breaking epsilons ({norm})", columns, rows, NOTE)


def _row(sweep: Sweep, epsilons: Sequence[float]) -> Row:
    # scipy behind it takes longer to load than a report without sweeps takes to write.
    from ...stats.statistics import estimate

    right = sum(sweep.first_fooled) + sweep.unbroken
    fallen = dict(zip(sweep.epsilons, sweep.first_fooled, strict=True))
    counts = [*(fallen.get(epsilon) for epsilon in epsilons), sweep.unbroken]
    shares = (text.share(estimate(count, right)) if count is not None and right else text.DASH for count in counts)
    return Row((text.name(sweep.name), *shares, _median(sweep, right)))


def _median(sweep: Sweep, right: int) -> str:
    if not right:
        return text.DASH
    return f"above {format_epsilon(max(sweep.epsilons))}" if sweep.median is None else format_epsilon(sweep.median)
