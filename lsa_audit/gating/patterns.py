"""Which gate looks at what: balls, perturbations, layers, findings by the patterns of a profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase

from ..errors import UsageError
from ..records import Perturbation
from ..records.snapshot import Snapshot
from ..settings.gates import COMPARATIVE, Gate, split
from ..units import format_epsilon, parse_epsilon

EVERYTHING = "*"
SAME_EPSILON = 1e-3
"""Relative difference of epsilons that still mean the same: 8/255 may be written 0.0314."""
NAMED = 12

Fits = Callable[[str, str], bool]


def matches(pattern: str, name: str) -> bool:
    """Whether a name has a pattern of `*` and `?`; all else stands for itself.

    >>> matches("layer4.*", "layer4.0.conv1"), matches("layer-pgd[fc]@*", "layer-pgd[fc]@linf-0.1")
    (True, True)
    """
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def matches_ball(pattern: str, name: str) -> bool:
    """The same for balls (`linf-8/255`) and perturbations (`pgd@linf-8/255`); epsilons can be written in many ways.

    >>> matches_ball("linf-0.0314", "linf-8/255"), matches_ball("linf-*", "pgd@linf-8/255")
    (True, False)
    """
    if ("@" in pattern) != ("@" in name):
        return False
    return matches(pattern, name) or _same_ball(pattern, name)


def chosen(gates: Mapping[str, Gate], kind: str, names: Collection[str], fits: Fits = matches) -> dict[str, list[str]]:
    """What each gate of a kind looks at, without those that are off.

    A name goes to the most specific gate alone: one without a pattern, else the longest pattern, else the later one.
    """
    found: dict[str, list[str]] = {key: [] for key in gates if split(key)[0] == kind}
    ranked = sorted(found, key=_specific)
    for name in names:
        if fitting := [key for key in ranked if fits(split(key)[1], name)]:
            found[fitting[-1]].append(name)
    return {key: taken for key, taken in found.items() if gates[key].level != "off"}


def require(gates: Mapping[str, Gate], kind: str, names: Collection[str], fits: Fits = matches) -> None:
    """Every gate of a kind that names a target must find it.

    Raises:
        UsageError: one that finds nothing, with what there is.
    """
    for key, gate in gates.items():
        name, target = split(key)
        if name != kind or gate.level == "off" or target == EVERYTHING:
            continue
        if not any(fits(target, each) for each in names):
            raise UsageError(f"the gate {key} finds nothing in the run", f"there is {listed(names)}")


def require_layers(gates: Mapping[str, Gate], kind: str, ours: Collection[str], theirs: Collection[str]) -> None:
    """As `require`, for layers: what only compares may name one that the baseline alone has.

    Args:
        theirs: layers that only the baseline has.
    """
    compares = {key: gate for key, gate in gates.items() if not gate.limits.keys() - COMPARATIVE}
    require({key: gate for key, gate in gates.items() if key not in compares}, kind, ours)
    require(compares, kind, [*ours, *theirs])


def listed(names: Collection[str]) -> str:
    """Some names, and how many more there are.

    >>> listed([]), listed(["conv1", "fc"])
    ('nothing of that kind', 'conv1, fc')
    """
    if not names:
        return "nothing of that kind"
    shown = list(names)[:NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def ball(perturbation: Perturbation) -> str:
    """Norm and epsilon, e.g. `linf-8/255`."""
    return f"{perturbation.norm}-{format_epsilon(perturbation.epsilon)}"


def balls(snapshot: Snapshot) -> dict[str, list[str]]:
    """The ids of the attacks in each ball; noises are no attacks."""
    found: dict[str, list[str]] = {}
    for entry in snapshot.judged:
        if entry.perturbation.kind == "attack":
            found.setdefault(ball(entry.perturbation), []).append(entry.perturbation.id)
    return found


def _specific(key: str) -> tuple[bool, int]:
    target = split(key)[1]
    return not any(sign in target for sign in "*?"), len(target)


def _same_ball(written: str, name: str) -> bool:
    (left, left_epsilon), (right, right_epsilon) = (text.rpartition("-")[::2] for text in (written, name))
    try:
        return left == right and math.isclose(
            parse_epsilon(left_epsilon, "l2"), parse_epsilon(right_epsilon, "l2"), rel_tol=SAME_EPSILON
        )
    except UsageError:
        return False
