"""Attacks made of several: each member works on the images that the members before it left right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from ..records import AttackStage
from . import MOST_QUERIES, apgd, cascade_queries, fab, square
from .base import Attack
from .draws import Draws
from .objectives import cross_entropy, dlr
from .target import Target
from .target_classes import CLASSES, positions


@dataclass(frozen=True)
class Member:
    """One attack of an ensemble.

    Attributes:
        steps: of each search; queries for square.
        classes: how many likely classes it aims at, one search each; 0: it aims at none.
    """

    name: str
    attack: Attack
    steps: int
    classes: int = 0


GRADIENT_PASSES = 3
SHORTEST, LONGEST = 20, 100
"""Steps of one search: with fewer than the first APGD hardly shrinks its step; the last is what is published."""

STANDARD = (
    Member("apgd-ce", apgd.run_ce, steps=LONGEST),
    Member("apgd-t", apgd.run_targeted, steps=LONGEST, classes=CLASSES),
    Member("fab-t", fab.run, steps=LONGEST, classes=CLASSES),
    Member("square", square.run, steps=MOST_QUERIES),
)


def run_standard(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """AutoAttack: APGD-CE, targeted APGD, targeted FAB and Square with the published settings, and no others.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks", ICML 2020, arXiv 2003.01690: 100 steps, nine target classes, 5,000 queries, one start each.
    Differs from the source: an image leaves as soon as any query fooled inside the ball, not at a member's end; Square
    draws each image's window for itself; where the differences of the members are told in their own files.

    Args:
        target: the model as the judge lends it.
        rows: [n] which images of the batch to perturb.
        draws: one generator for each of `rows`.

    Returns:
        What the first member ended with, [n, ...].

    Cost: for an image that stays right 101 + 9 x 101 + 9 x 200 + 5,001 forwards and 1,910 backwards.
    """
    return run_members(target, rows, draws, STANDARD)


def run_members(target: Target, rows: Tensor, draws: Draws, members: tuple[Member, ...]) -> Tensor:
    """The members in turn on what is left; only the first one spends its whole budget on images that have fallen.

    Every member is noted in `target.stages`, also one that found no image left.

    Returns:
        What the first member ended with, [n, ...].
    """
    budget, ended = target.budget, target.images[rows].clone()
    for place, member in enumerate(members):
        first = place == 0
        target.budget = replace(budget, steps=member.steps, step_size=None, spend_all=budget.spend_all and first)
        active = target.active(rows)
        before = (target.forwards, target.backwards, int(target.fooled[active].sum()))
        if len(active):
            kept = positions(active, rows)
            proposed = member.attack(target, active, draws.of(kept.tolist()))
            if first:
                ended[kept] = proposed
        target.stages.append(
            AttackStage(
                name=member.name,
                steps=member.steps,
                classes=min(member.classes, max(target.classes - 1, 0)),
                images=len(active),
                fooled=int(target.fooled[active].sum()) - before[2],
                forwards=target.forwards - before[0],
                backwards=target.backwards - before[1],
            )
        )
    target.budget = budget
    return ended


def run_cascade(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """The members of AutoAttack cut to a budget: `steps` are the passes that an image which stays right may cost.

    A forward counts as one pass and a gradient as three. Half of the passes, but at most 5,000, go to Square at the
    end, one in twenty to APGD-CE; APGD-T gets as many classes as 20 steps each allow, up to nine with 100 steps; what
    is left then goes to FAB-T in the same way. From 11,600 passes on these are the published settings.
    Source: the members of arXiv 2003.01690; the division is ours. A hardened network of ours kept 26 % under gradient
    attacks and 2 % once Square had 1,500 queries, so Square never goes short.

    Returns:
        What the first member ended with, [n, ...].

    Cost: about `steps` passes for an image that stays right; what it leaves out against AutoAttack is in the stages.
    """
    return run_members(target, rows, draws, cascade(target.budget.steps))


def cascade(passes: int) -> tuple[Member, ...]:
    """The members within a budget of passes, in order.

    >>> [(member.name, member.steps, member.classes) for member in cascade(3000)]
    [('apgd-ce', 50, 0), ('apgd-t', 50, 9), ('square', 1500, 0)]
    """
    queries = cascade_queries(passes)
    first = min(max(passes // 60, SHORTEST // 2), STANDARD[0].steps)
    left = passes - queries - GRADIENT_PASSES * first
    chosen = [Member("apgd-ce", apgd.run_ce, steps=first)]
    for name, attack, passes_a_step in (
        ("apgd-t", apgd.run_targeted, GRADIENT_PASSES),
        ("fab-t", fab.run, GRADIENT_PASSES + 1),
    ):
        classes = min(left // (passes_a_step * SHORTEST), CLASSES)
        if classes < 1:
            break
        steps = min(left // (passes_a_step * classes), LONGEST)
        left -= passes_a_step * classes * steps
        chosen.append(Member(name, partial(attack, classes=classes), steps, classes))
    return (*chosen, Member("square", square.run, queries))


def run_unbounded(target: Target, rows: Tensor, draws: Draws) -> Tensor:
    """APGD on both untargeted objectives with the budget's steps: what a trial in an unbounded ball runs.

    It starts from the clean images: a random start in such a ball is a picture of noise, which fools many models before
    any gradient was asked for.
    """
    steps = target.budget.steps
    members = tuple(
        Member(name, partial(_from_clean, aim=apgd.Aim(objective)), steps)
        for name, objective in (("apgd-ce", cross_entropy), ("apgd-dlr", dlr))
    )
    return run_members(target, rows, draws, members)


def _from_clean(target: Target, rows: Tensor, draws: Draws, *, aim: apgd.Aim) -> Tensor:
    return apgd.search(target, rows, draws, aim, target.images[rows])
