"""Gates on plain counts: fragile neurons, findings on the attacks' health, things that could not be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..records import Finding, Skipped
from ..records.gating import Outcome
from ..records.snapshot import NeuronCount, Snapshot
from ..settings.gates import COMPARATIVE, Gate
from ..units import format_number, quantity
from .asking import NOTHING_CHANGED, ComparedRuns, LimitQuestion, LimitResult, absent, whole
from .patterns import NAMED, chosen, listed, require_layers

NOTHING_TO_MEASURE = frozenset({"parameter-unused", "nothing-lost"})
"""Reasons that speak of no gap: weights that the forward never reads, and patching where no image was fooled."""


def ask(run: Snapshot, baseline: Snapshot | None, gates: Mapping[str, Gate]) -> list[LimitQuestion]:
    """The limits on counts: for each layer with dropped neurons, and over all findings and skips that a gate names.

    Raises:
        UsageError: a gate names a layer whose neurons were not dropped.
    """
    layers = [entry.layer for entry in run.neurons]
    theirs = [entry.layer for entry in baseline.neurons if entry.layer not in layers] if baseline else []
    require_layers(gates, "fragile_neurons", layers, theirs)
    asked = []
    for key, names in chosen(gates, "fragile_neurons", [*layers, *theirs]).items():
        if not layers:
            asked += absent(key, gates[key], "no neuron was dropped")
            continue
        asked += [
            LimitQuestion(key, gates[key], name, limit, needs=())
            for name in names
            for limit in gates[key].limits
            if name in layers or limit in COMPARATIVE
        ]
    rules = dict.fromkeys(finding.rule for finding in health_findings(run))
    skips = dict.fromkeys(entry.what for entry in run.skipped)
    for kind, things in (("attack_health", rules), ("skipped", skips)):
        asked += [
            LimitQuestion(key, gates[key], whole(key), limit, names=tuple(names))
            for key, names in chosen(gates, kind, things).items()
            for limit in gates[key].limits
        ]
    return asked


def health_findings(run: Snapshot) -> list[Finding]:
    """Warnings and errors on whether the attacks worked."""
    return [finding for finding in run.findings if finding.group == "attack-health" and finding.level != "note"]


def new_skips(run: Snapshot, baseline: Snapshot) -> list[Skipped]:
    """What the run could not measure and the baseline could, or could not for another reason."""
    return _unknown_to(baseline, not_measured(run))


def not_measured(run: Snapshot) -> list[Skipped]:
    """What could not be measured; what the model gives no occasion to measure is left out."""
    return [entry for entry in run.skipped if entry.reason not in NOTHING_TO_MEASURE]


def _unknown_to(baseline: Snapshot, entries: Sequence[Skipped]) -> list[Skipped]:
    known = {(entry.what, entry.reason) for entry in baseline.skipped}
    return [entry for entry in entries if (entry.what, entry.reason) not in known]


def fragile(asked: LimitQuestion, run: Snapshot) -> LimitResult:
    """The number of fragile neurons of a layer against the largest one allowed."""
    found = _neurons(run, asked.target)
    there = found.fragile if found else 0
    sentence = f"{_fragile_in(asked, there)} (allowed {format_number(asked.allowed)})"
    return LimitResult(sentence, _held(there, asked), figure=there, run_value=there, images=run.clean.count)


def more_fragile(asked: LimitQuestion, pair: ComparedRuns) -> LimitResult:
    """How many more neurons of a layer are fragile than in the baseline against the largest number allowed.

    A neuron is fragile where its loss is significant, which takes images: on fewer of them fewer neurons are.
    """
    now, then = (_neurons(side, asked.target) for side in (pair.run, pair.baseline))
    images = len(pair.run_rows)
    if now is None or then is None:
        whose = "the run" if now is None else "the baseline"
        return LimitResult(f"{whose} dropped no neurons of layer {asked.target}", outcome="not-comparable")
    sentence = f"{_fragile_in(asked, now.fragile)}, {then.fragile:,} in the baseline"
    figure = now.fragile - then.fragile
    if images != pair.baseline.clean.count:
        sentence += f", which counted on {pair.baseline.clean.count:,} images and not on {images:,}"
        outcome: Outcome = "inconclusive"
    elif now.drop_value != then.drop_value:
        sentence += f", which dropped to {then.drop_value} and not to {now.drop_value}"
        outcome = "inconclusive"
    else:
        sentence += f" (a rise of {format_number(asked.allowed)} allowed)"
        outcome = _held(figure, asked)
    return LimitResult(
        sentence, outcome, figure=figure, run_value=now.fragile, baseline_value=then.fragile, images=images
    )


def health(asked: LimitQuestion, run: Snapshot) -> LimitResult:
    """The number of attack-health findings; above the limit the robust figures cannot be relied on."""
    found = [finding for finding in health_findings(run) if finding.rule in asked.names]
    named = f"{listed(list(dict.fromkeys(finding.rule for finding in found)))}; " if found else ""
    sentence = (
        f"{quantity(len(found), 'finding')} on the attacks' health ({named}allowed {format_number(asked.allowed)})"
    )
    if _held(len(found), asked) == "passed":
        return LimitResult(sentence, outcome="passed", figure=len(found), run_value=len(found))
    verdict = "exceeded, so that the figures on robustness cannot be relied on"
    return LimitResult(sentence, outcome="inconclusive", figure=len(found), run_value=len(found), verdict=verdict)


def skipped(asked: LimitQuestion, run: Snapshot, baseline: Snapshot | None) -> LimitResult:
    """The number of things that could not be measured against the largest one allowed.

    Args:
        baseline: what it names with the same reason is no failure of this run, and is not counted.
    """
    found = _asked_of(asked, run)
    new = found if baseline is None else _unknown_to(baseline, found)
    sentence, verdict = f"{quantity(len(found), 'thing')} could not be measured", ""
    if not found:
        sentence += f" (allowed {format_number(asked.allowed)})"
    elif not new:
        sentence, verdict = f"{sentence}, as in the baseline{_named(found)}", NOTHING_CHANGED
    else:
        which = "" if len(new) == len(found) else f", {len(new):,} of which the baseline does not name"
        sentence += f"{which}{_named(new)} (allowed {format_number(asked.allowed)})"
    return LimitResult(sentence, _held(len(new), asked), figure=len(new), run_value=len(found), verdict=verdict)


def newly_skipped(asked: LimitQuestion, pair: ComparedRuns) -> LimitResult:
    """Things that could not be measured and that the baseline does not have, with the same reason."""
    there = _asked_of(asked, pair.run)
    found = _unknown_to(pair.baseline, there)
    sentence = f"{quantity(len(found), 'thing')} could not be measured that the baseline does not name{_named(found)}"
    return LimitResult(sentence, _held(len(found), asked), figure=len(found), run_value=len(there))


def _asked_of(asked: LimitQuestion, run: Snapshot) -> list[Skipped]:
    """What a gate counts; one that names its target counts all that fits."""
    entries = run.skipped if asked.target else not_measured(run)
    return [entry for entry in entries if entry.what in asked.names]


def _held(figure: float, asked: LimitQuestion) -> Outcome:
    return "failed" if figure > asked.allowed else "passed"


def _neurons(snapshot: Snapshot, layer: str) -> NeuronCount | None:
    return next((entry for entry in snapshot.neurons if entry.layer == layer), None)


def _fragile_in(asked: LimitQuestion, count: int) -> str:
    return f"{quantity(count, 'neuron')} of layer {asked.target} {'is' if count == 1 else 'are'} fragile"


def _named(found: Sequence[Skipped]) -> str:
    return f": {'; '.join(f'{entry.what} ({entry.reason})' for entry in found[:NAMED])}" if found else ""
