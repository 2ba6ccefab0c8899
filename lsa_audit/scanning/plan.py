"""From settings to the list of perturbations that a scan runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal

from ..attacks import ATTACKS, Entry, cascade_queries
from ..errors import ProfileError
from ..records import Perturbation, Skipped
from ..settings.profile import AttackSettings, Profile
from ..units import format_epsilon, parse_epsilon


def perturbations(profile: Profile) -> tuple[Perturbation, ...]:
    """Every attack and noise at every epsilon, in the order of the settings, epsilons rising.

    Raises:
        ProfileError: an epsilon above 1 under linf, settings that an attack does not have, or the same id twice.
    """
    noises = tuple(AttackSettings(name=name) for name in profile.noises)
    planned = [entry for settings in (*profile.attacks, *noises) for entry in _at_every_epsilon(settings, profile)]
    ids = [perturbation.id for perturbation in planned]
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    if repeated:
        raise ProfileError(f"{', '.join(repeated)} would run twice", "name each attack and epsilon once")
    return tuple(planned)


def without_gradients(
    planned: Sequence[Perturbation], opaque: Sequence[str]
) -> tuple[tuple[Perturbation, ...], tuple[Skipped, ...]]:
    """What of a plan can run on a model without gradients, and the rest as skipped.

    Of a cascade its last member is left, Square, which takes the cascade's place unless it is planned already.

    Args:
        opaque: the operations that give none.
    """
    why = f"the model gives no gradients because of {', '.join(opaque)}"
    lost = [entry for entry in planned if ATTACKS[entry.name].gradients]
    left = {entry.id: entry for entry in planned if entry not in lost}
    for entry in lost:
        if entry.name == "cascade":
            square = _last_member(entry)
            left.setdefault(square.id, square)
    return tuple(left.values()), tuple(Skipped(what=entry.id, reason="no-gradients", detail=why) for entry in lost)


def _last_member(cascade: Perturbation) -> Perturbation:
    entry = ATTACKS["square"]
    return cascade.model_copy(
        update={
            "id": cascade.id.replace("cascade@", "square@"),
            "name": "square",
            "steps": cascade_queries(cascade.steps),
            "version": entry.version,
            "citation": entry.citation,
        }
    )


def measurable(planned: Sequence[Perturbation]) -> tuple[Perturbation, ...]:
    """The perturbations under which layers and neurons can be measured: all of one budget with images of their own.

    A minimal-norm attack gives every image another distance; an ensemble hardly works on images that fall early, so it
    is measured only where it is the only attack.
    """
    budgeted = [entry for entry in planned if not entry.minimal]
    plain = [entry for entry in budgeted if not ATTACKS[entry.name].ensemble]
    return tuple(plain if any(entry.kind == "attack" for entry in plain) else budgeted)


@dataclass(frozen=True)
class Run:
    """What one call of the judge covers for a batch.

    Attributes:
        perturbations: one, or the same attack at several epsilons, rising.
        mode: `each`: one perturbation; `nearest`: a minimal-norm attack, whose distances give all verdicts; `bisect`:
            each image only meets the epsilons that its earlier verdicts leave open.
        measured: the probes look at the images, so every image must get the whole budget.
    """

    perturbations: tuple[Perturbation, ...]
    mode: Literal["each", "nearest", "bisect"]
    measured: bool = False


def runs(planned: Sequence[Perturbation], measured: Set[str]) -> tuple[Run, ...]:
    """The plan as runs, in its order.

    Args:
        measured: ids of the perturbations whose images the probes look at; these are run one by one, in full.
    """
    found: list[Run] = []
    for _, group in itertools.groupby(planned, key=lambda entry: (entry.name, entry.norm, entry.layer, entry.steps)):
        entries = tuple(sorted(group, key=lambda entry: entry.epsilon))
        if entries[0].minimal:
            found.append(Run(entries, "nearest"))
        elif len(entries) > 1 and ATTACKS[entries[0].name].multistep and measured.isdisjoint(e.id for e in entries):
            found.append(Run(entries, "bisect"))
        else:
            found += [Run((entry,), "each", entry.id in measured) for entry in entries]
    return tuple(found)


def _at_every_epsilon(settings: AttackSettings, profile: Profile) -> list[Perturbation]:
    entry = ATTACKS[settings.name]
    norm = settings.norm or profile.norm
    if norm not in entry.norms:
        raise ProfileError(f"{settings.name} has no {norm} form", f"it has {', '.join(entry.norms)}")
    tuned = settings.steps is not None or settings.step_size is not None or settings.restarts != 1
    if tuned and not entry.iterative:
        raise ProfileError(f"{settings.name} takes no steps, step_size or restarts", "leave them out for it")
    if entry.layer != (settings.layer is not None):
        wanted = "needs a layer" if entry.layer else "takes no layer"
        raise ProfileError(
            f"{settings.name} {wanted}", "e.g. {name: layer-pgd, layer: fc}; see `lsa-audit layers MODEL`"
        )
    shown = f"{settings.name}[{settings.layer}]" if settings.layer else settings.name
    return [
        Perturbation(
            id=f"{shown}@{norm}-{format_epsilon(epsilon)}",
            name=settings.name,
            kind=entry.kind,
            norm=norm,
            epsilon=parse_epsilon(epsilon, norm),
            steps=settings.steps or entry.steps,
            step_size=_step_size(settings, entry, epsilon),
            restarts=settings.restarts,
            version=entry.version,
            citation=entry.citation,
            minimal=entry.minimal,
            layer=settings.layer,
        )
        for epsilon in sorted(set(settings.epsilon or profile.epsilon))
    ]


def _step_size(settings: AttackSettings, entry: Entry, epsilon: float) -> float | None:
    """What was set, else the attack's share of epsilon; None where the attack sets its own."""
    if settings.step_size is not None or entry.step_share is None:
        return settings.step_size
    return entry.step_share * epsilon
