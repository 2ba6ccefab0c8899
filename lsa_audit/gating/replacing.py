"""When a run may take a baseline's place: where it is no worse in anything, or a reason is given. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date

from ..errors import UsageError
from ..records.snapshot import Acceptance, Baseline, Snapshot
from ..settings.gates import Gate
from ..units import format_number, format_percent
from .comparability import Rows, layer_refusals, other_conditions, pair, said
from .counts import health_findings, new_skips
from .layers import MEASURE, last_measured
from .patterns import balls, chosen
from .snapshot import check, measured_layers, robust

FIRST = "first"
IMPROVED = "improved"


def updated(
    old: Baseline | None, new: Snapshot, day: date, accept: str | None, gates: Mapping[str, Gate] | None = None
) -> Baseline:
    """The baseline that a run becomes, with the history of all that came before it.

    Args:
        gates: say by how much the relative error of a layer may rise.
        accept: the reason to take the run although it is no improvement.

    Raises:
        UsageError: it is no improvement and there is no reason, with each thing that got worse; an empty reason.
        DataError: a snapshot that contradicts itself.
    """
    check(new)
    if accept is not None and not accept.strip():
        raise UsageError("--accept takes a reason", "say in a few words why the run may be worse")
    if old is None:
        return Baseline(snapshot=new, history=(_acceptance(new, day, accept or FIRST),))
    check(old.snapshot)
    found = [*worse(old.snapshot, new), *_risen(old.snapshot, new, gates or {})]
    if found and accept is None:
        raise UsageError(
            f"the run does not improve on the baseline: {'; '.join(found)}", "accept it with --accept REASON"
        )
    return Baseline(snapshot=new, history=(*old.history, _acceptance(new, day, accept or IMPROVED)))


def worse(old: Snapshot, new: Snapshot) -> Iterator[str]:
    """Everything in which a run is worse than a baseline, or cannot be compared with it; nothing for an improvement."""
    rows, old_rows = pair(new, old)
    if len(old_rows) < old.clean.count:
        yield f"{old.clean.count - len(old_rows):,} of the baseline's {old.clean.count:,} images are not in it"
    judged = [entry.perturbation.id for entry in old.judged]
    for difference in other_conditions(new, old, judged):
        yield said(difference)
    if len(rows):
        yield from _shares(old, new, old_rows, rows)
    known = {(finding.rule, finding.subject) for finding in health_findings(old)}
    for finding in health_findings(new):
        if (finding.rule, finding.subject) not in known:
            yield f"attack-health finding {finding.rule} on {finding.subject} is new"
    for entry in new_skips(new, old):
        yield f"{entry.what} is newly skipped ({entry.reason})"
    yield from _lists(old, new)
    fragile = {entry.layer: entry.fragile for entry in old.neurons}
    for counted in new.neurons:
        if counted.fragile > (before := fragile.get(counted.layer, counted.fragile)):
            yield f"fragile neurons of layer {counted.layer} rise from {before:,} to {counted.fragile:,}"


def _shares(old: Snapshot, new: Snapshot, old_rows: Rows, rows: Rows) -> Iterator[str]:
    groups: dict[str, Collection[str]] = {"clean accuracy": ()}
    groups |= {f"robust accuracy at {name}": ids for name, ids in balls(old).items()}
    singles = [ids[0] for ids in balls(old).values() if len(ids) == 1]
    judged = [entry.perturbation.id for entry in old.judged]
    groups |= {f"robust accuracy under {name}": (name,) for name in judged if name not in singles}
    present = {entry.perturbation.id for entry in new.judged}
    for what, ids in groups.items():
        if not present.issuperset(ids):
            continue
        before, after = robust(old, ids)[old_rows], robust(new, ids)[rows]
        if after.sum() < before.sum():
            yield f"{what} falls from {format_percent(before.mean())} to {format_percent(after.mean())}"


def _lists(old: Snapshot, new: Snapshot) -> Iterator[str]:
    under = last_measured(old)
    if under is None:
        return
    for difference in layer_refusals(new, old, under, lists=True):
        yield said(difference)
    before, after = measured_layers(old, under), measured_layers(new, under)
    for name in after.mvl if after else ():
        if before and name not in before.mvl:
            yield f"layer {name} is new among the most vulnerable under {under}"


def _risen(old: Snapshot, new: Snapshot, gates: Mapping[str, Gate]) -> Iterator[str]:
    """Layers whose mean relative error rises by more than a gate on it allows; those without such a gate may rise."""
    limited = {key: gate for key, gate in gates.items() if gate.max_rise is not None}
    for measured in new.measured:
        before = measured_layers(old, measured.perturbation)
        if before is None or before.measure != measured.measure or measured.measure != MEASURE:
            continue
        then = {state.layer: state.mean for state in before.layers}
        now = {state.layer: state.mean for state in measured.layers}
        for key, names in chosen(limited, "relative_error", list(now)).items():
            gate = limited[key]
            if measured.perturbation != (gate.under or last_measured(new)):
                continue
            for name in names:
                first, second = then.get(name), now[name]
                if first is not None and second is not None and second - first > (gate.max_rise or 0.0):
                    rise = f"from {format_number(first)} to {format_number(second)}"
                    yield f"the mean relative error of {name} rises {rise}"


def _acceptance(run: Snapshot, day: date, reason: str) -> Acceptance:
    return Acceptance(day=day.isoformat(), run=run.name, reason=reason.strip())
