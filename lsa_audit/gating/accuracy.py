"""Gates on shares of images: right without attack, and right under every attack in a ball."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..records.snapshot import Snapshot
from ..settings.gates import Gate
from ..stats import paired, shares
from ..units import format_percent, format_points, quantity
from .asking import NOTHING_CHANGED, ComparedRuns, LimitQuestion, LimitResult, absent, whole
from .patterns import balls, chosen, matches_ball, require
from .snapshot import robust
from .words import bounds, moved, same_images


def ask(run: Snapshot, baseline: Snapshot | None, gates: Mapping[str, Gate]) -> list[LimitQuestion]:
    """The limits on clean accuracy, and on robust accuracy for each ball or perturbation that a gate names.

    Raises:
        UsageError: a gate names a ball or a perturbation that was not run.
    """
    clean = chosen(gates, "clean_accuracy", [""])
    asked = [LimitQuestion(key, gates[key], "", limit, needs=()) for key in clean for limit in gates[key].limits]
    ours, theirs = balls(run), balls(baseline) if baseline else {}
    members = {entry.perturbation.id: [entry.perturbation.id] for entry in run.judged} | ours
    require(gates, "robust_accuracy", members, matches_ball)
    # A ball of the baseline that was not run is a drop that nobody looked at: comparing it is refused.
    everywhere = members | {name: [] for name in theirs if name not in ours}
    for key, names in chosen(gates, "robust_accuracy", everywhere, matches_ball).items():
        if not ours and not whole(key):
            asked += absent(key, gates[key], "no attack was run")
        for name in names:
            # A baseline with one attack more in the ball is another measurement.
            needs = tuple(dict.fromkeys([*everywhere[name], *theirs.get(name, [])]))
            limits = [limit for limit in gates[key].limits if name in members or limit == "max_drop"]
            asked += [
                LimitQuestion(key, gates[key], name, limit, names=tuple(everywhere[name]), needs=needs)
                for limit in limits
            ]
    return asked


def share(asked: LimitQuestion, run: Snapshot) -> LimitResult:
    """The share of right images against the lowest one allowed."""
    right, alpha = robust(run, asked.names), asked.gate.alpha
    count, images = int(right.sum()), len(right)
    decision = shares.at_least(count, images, asked.allowed, alpha)
    sentence = (
        f"{_figure(asked, run)} is {format_percent(count / images)} on {quantity(images, 'image')} "
        f"({bounds(decision, format_percent)}; at least {format_percent(asked.allowed)} required)"
    )
    return LimitResult(sentence, decision=decision, run_value=count / images, note=_strongest(asked, run))


def drop(asked: LimitQuestion, pair: ComparedRuns) -> LimitResult:
    """The drop of the share on the same images against the largest one allowed."""
    after = robust(pair.run, asked.names)[pair.run_rows]
    before = robust(pair.baseline, asked.names)[pair.baseline_rows]
    images, alpha = len(after), asked.gate.alpha
    now, then = float(after.mean()), float(before.mean())
    figure, where = _figure(asked, pair.run), same_images(images, pair.baseline)
    if pair.same_weights and np.array_equal(before, after):
        return LimitResult(
            f"{figure} {moved(then, now)} {where}, with the same weights and the same verdicts",
            outcome="passed",
            verdict=NOTHING_CHANGED,
            figure=0.0,
            run_value=now,
            baseline_value=then,
            images=images,
        )
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    decision = paired.drop(lost, gained, images, asked.allowed, alpha)
    sentence = (
        f"{figure} {moved(then, now)} {where} "
        f"(a drop of {bounds(decision, format_points, ' points')}; allowed {format_points(asked.allowed)})"
    )
    note = _strongest(asked, pair.run)
    return LimitResult(sentence, decision=decision, run_value=now, baseline_value=then, note=note)


def _figure(asked: LimitQuestion, run: Snapshot) -> str:
    """What the share is called: against the model's own predictions it is no accuracy."""
    own = run.labels.source == "self"
    if not asked.target:
        return "prediction stability without attack" if own else "clean accuracy"
    place = f"under {asked.target}" if "@" in asked.target else f"at {asked.target.replace('-', ' ', 1)}"
    return f"{'prediction stability' if own else 'robust accuracy'} {place}"


def _strongest(asked: LimitQuestion, run: Snapshot) -> str:
    if len(asked.names) < 2:
        return ""
    left = {name: int(robust(run, [name]).sum()) for name in asked.names}
    strongest = min(left, key=lambda name: left[name])
    return (
        f"{strongest} alone does the most damage, it leaves {format_percent(left[strongest] / run.clean.count)} right"
    )
