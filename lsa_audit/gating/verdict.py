"""The verdict of the gates on a run, readable from top to bottom in `judge`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from .. import __version__
from ..errors import UsageError
from ..records.gating import Difference, GateCheck, Gating, Outcome
from ..records.snapshot import Snapshot
from ..settings.gates import Gate, Waiver
from ..stats.decision import Decision
from ..stats.statistics import finite, holm
from ..units import quantity
from . import accuracy, counts, layers, waivers
from .asking import ComparedRuns, LimitQuestion, LimitResult
from .comparability import layer_refusals, pair, refusals, said, shown
from .layers import measures_needed
from .snapshot import check

__all__ = ["Question", "incomparable", "judge", "measures_needed"]

ALONE: Mapping[str, Callable[[LimitQuestion, Snapshot], LimitResult]] = {
    "clean_accuracy": accuracy.share,
    "robust_accuracy": accuracy.share,
    "relative_error": layers.mean_error,
    "mvl": layers.length,
    "fragile_neurons": counts.fragile,
    "attack_health": counts.health,
}
COMPARED: Mapping[str, Callable[[LimitQuestion, ComparedRuns], LimitResult]] = {
    "clean_accuracy": accuracy.drop,
    "robust_accuracy": accuracy.drop,
    "relative_error": layers.rise,
    "mvl": layers.newly,
    "fragile_neurons": counts.more_fragile,
    "skipped": counts.newly_skipped,
}
VERDICTS: Mapping[Outcome, str] = {
    "passed": "kept",
    "failed": "broken",
    "inconclusive": "not decided",
    "not-comparable": "not comparable",
}


@dataclass(frozen=True)
class Question:
    """What is asked of a run.

    Attributes:
        gates: by their keys in the profile.
        lines: of the keys in the profile file, as far as they are known.
        profile: where the gates stand: a file or preset; None: in the record's settings.
        today: the day on which waivers are looked at.
    """

    gates: Mapping[str, Gate]
    waivers: tuple[Waiver, ...]
    lines: Mapping[str, int]
    profile: str | None
    today: date


def judge(run: Snapshot, baseline: Snapshot | None, question: Question) -> Gating:
    """What the gates say of a run.

    Raises:
        UsageError: a gate that finds nothing in the run, or one that compares what cannot be compared, with every
            difference that forbids it.
        DataError: a snapshot that contradicts itself.

    Cost: for each limit on a share some ten milliseconds on 1,000 images, for each on a mean a tenth of a second.
    Random: follows from the run's seed.
    """
    for side in (run, baseline):
        if side:
            check(side)
    asked = [
        *accuracy.ask(run, baseline, question.gates),
        *layers.ask(run, baseline, question.gates),
        *counts.ask(run, baseline, question.gates),
    ]
    both = ComparedRuns(run, baseline, *pair(run, baseline)) if baseline else None
    if both:
        _refuse(asked, both)
    covered, applied = waivers.apply(_checks(asked, run, both, question), question.waivers, question.today)
    return Gating(
        tool_version=__version__,
        judged_on=question.today.isoformat(),
        run=run.name,
        baseline=baseline.name if baseline else None,
        profile=question.profile,
        images=run.clean.count,
        images_paired=len(both.run_rows) if both else None,
        checks=covered,
        waivers=applied,
        differences=shown(run, baseline) if baseline else (),
    )


def incomparable(baseline: Snapshot, differences: Sequence[Difference]) -> UsageError:
    """The refusal to compare, with every difference that forbids it."""
    named = "; ".join(said(entry) for entry in differences)
    return UsageError(
        f"the run cannot be compared with {baseline.name}: {named}",
        "scan with the baseline's data and settings, or make a new baseline",
    )


def _refuse(asked: Sequence[LimitQuestion], both: ComparedRuns) -> None:
    compared = [entry for entry in asked if entry.comparative and entry.needs is not None and not entry.missing]
    if not compared:
        return
    needs = dict.fromkeys(name for entry in compared for name in entry.needs or ())
    found = dict.fromkeys(refusals(both.run, both.baseline, needs))
    for entry in compared:
        if entry.under:
            lists = entry.kind == "mvl"
            found |= dict.fromkeys(layer_refusals(both.run, both.baseline, entry.under, lists=lists))
    if found:
        raise incomparable(both.baseline, list(found))


def _look(asked: LimitQuestion, run: Snapshot, both: ComparedRuns | None) -> LimitResult:
    if asked.missing:
        return LimitResult(asked.missing, outcome="inconclusive")
    if not asked.comparative and asked.kind == "skipped":
        return counts.skipped(asked, run, both.baseline if both else None)
    if not asked.comparative:
        return ALONE[asked.kind](asked, run)
    if both is None:
        return LimitResult("there is no baseline to compare with, it needs --baseline", outcome="inconclusive")
    return COMPARED[asked.kind](asked, both)


def _checks(
    asked: Sequence[LimitQuestion], run: Snapshot, both: ComparedRuns | None, question: Question
) -> list[GateCheck]:
    """The checks in the order of `asked`."""
    seen = [_look(entry, run, both) for entry in asked]
    tests = Counter(entry.gate.level for entry, found in zip(asked, seen, strict=True) if found.decision)
    checks = []
    for entry, found, p_adjusted in zip(asked, seen, _adjusted(asked, seen), strict=True):
        decision = found.decision
        if decision and p_adjusted is not None and decision.p_broken <= decision.alpha < p_adjusted:
            # Broken by itself, but not beside the other limits: what decides must hold beside them too.
            strict = entry.gate.model_copy(update={"alpha": decision.alpha / tests[entry.gate.level]})
            again = _look(replace(entry, gate=strict), run, both).decision
            decision = replace(decision, needed=again.needed if again else None)
        checks.append(_check(entry, replace(found, decision=decision), p_adjusted, question, doubtful=_doubtful(run)))
    return checks


def _adjusted(asked: Sequence[LimitQuestion], seen: Sequence[LimitResult]) -> list[float | None]:
    """The p-values of broken limits after Holm's correction over those of the same level; None without a test."""
    found: list[float | None] = [None] * len(asked)
    for level in ("error", "warn"):
        tested = {
            place: entry.decision.p_broken
            for place, entry in enumerate(seen)
            if entry.decision and asked[place].gate.level == level
        }
        for place, p_value in zip(tested, holm(list(tested.values())).tolist(), strict=True):
            found[place] = p_value
    return found


def _doubtful(run: Snapshot) -> bool:
    return any(finding.level == "error" for finding in counts.health_findings(run))


def _check(
    asked: LimitQuestion, seen: LimitResult, p_adjusted: float | None, question: Question, *, doubtful: bool
) -> GateCheck:
    decision = seen.decision
    outcome = seen.outcome or _outcome(decision, p_adjusted)
    notes = [seen.note] if seen.note else []
    if doubtful and asked.kind == "robust_accuracy" and outcome == "passed":
        notes.append("attack health doubts this figure")
    needed = decision.needed if decision and outcome == "inconclusive" else None
    if needed is not None:
        notes.insert(0, f"about {quantity(needed, 'image')} would decide")
    return GateCheck(
        id=asked.id,
        gate=asked.key,
        kind=asked.kind,
        target=asked.target,
        level="warn" if asked.gate.level == "warn" else "error",
        limit=asked.limit,
        allowed=asked.allowed,
        outcome=outcome,
        sentence="; ".join([f"{seen.sentence}: {seen.verdict or VERDICTS[outcome]}", *notes]),
        seen=finite(decision.seen) if decision else seen.figure,
        low=finite(decision.low) if decision else None,
        high=finite(decision.high) if decision else None,
        run_value=seen.run_value,
        baseline_value=seen.baseline_value,
        alpha=decision.alpha if decision else None,
        p_broken=decision.p_broken if decision else None,
        p_adjusted=p_adjusted,
        p_kept=decision.p_kept if decision else None,
        images=decision.images if decision else seen.images,
        images_needed=needed,
        line=question.lines.get(asked.key),
    )


def _outcome(decision: Decision | None, p_adjusted: float | None) -> Outcome:
    if decision is None or p_adjusted is None:
        return "inconclusive"
    if p_adjusted <= decision.alpha:
        return "failed"
    return "passed" if decision.p_kept <= decision.alpha else "inconclusive"
