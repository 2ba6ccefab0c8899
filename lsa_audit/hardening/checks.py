"""What is measured before and after a hardening, as the profile of an audit."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..models.request import ModelRequest
from ..settings.profile import AttackSettings, Profile
from ..settings.recipe import Recipe

DEFAULT_ATTACKS = ("fgsm", "pgd", "apgd-ce", "cascade")
PASSES = 600
GRID_SHARES = (0.5, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Checks:
    """The attacks of the audits before and after.

    Attributes:
        attacks: names; the first is run on the whole grid, and the one most like the training's is added. Empty: fgsm,
            pgd, apgd-ce and cascade.
        passes: of cascade, an image; None: 600.
        grid: epsilons of the R&G score; empty: halves of the recipe's epsilon up to twice that, within the range.
    """

    attacks: tuple[str, ...] = ()
    passes: int | None = None
    grid: tuple[float, ...] = ()


def _layers_alone(profile: Profile, recipe: Recipe, eta: float) -> Profile:
    """The profile of an audit without noises, neurons and probes, at the recipe's norm and epsilon."""
    changed = {
        "noises": (),
        "norm": recipe.norm,
        "epsilon": (recipe.epsilon,),
        "eta": eta,
        "neurons": "none",
        "probes": (),
        "labels": "dataset",
        "seed": recipe.seed,
        "precision": "float32",
        "compile": False,
    }
    return profile.model_copy(update=changed)


def layer_profile(profile: Profile, recipe: Recipe, eta: float) -> Profile:
    """What chooses the most vulnerable layers: the learnable ones under PGD."""
    attack = AttackSettings(name="pgd", norm=recipe.norm, epsilon=(recipe.epsilon,))
    return _layers_alone(profile, recipe, eta).model_copy(update={"attacks": (attack,), "layers": "learnable"})


def audit_profile(profile: Profile, recipe: Recipe, eta: float, checks: Checks) -> Profile:
    """What is measured before and after: the first attack on the whole grid, the others at the recipe's epsilon.

    Raises:
        UsageError: passes without cascade.
    """
    attacks = tuple(dict.fromkeys([*(checks.attacks or DEFAULT_ATTACKS), recipe.own_attack]))
    if checks.passes is not None and "cascade" not in attacks:
        raise UsageError("passes: no attack here takes it", "add --attack cascade")
    most = 1.0 if recipe.norm == "linf" else float("inf")
    grid = checks.grid or tuple(share * recipe.epsilon for share in GRID_SHARES)
    wide = tuple(sorted({recipe.epsilon, *(entry for entry in grid if 0 < entry <= most)}))
    entries = [
        AttackSettings(
            name=name,
            norm=recipe.norm,
            epsilon=wide if place == 0 else (recipe.epsilon,),
            steps=(checks.passes or PASSES) if name == "cascade" else None,
        )
        for place, name in enumerate(attacks)
    ]
    return _layers_alone(profile, recipe, eta).model_copy(update={"attacks": tuple(entries)})


def reloading(profile: Profile, request: ModelRequest) -> Profile:
    """The profile with which the written file loads, its sidecar beside it."""
    changed = {
        "arch": request.arch,
        "checkpoint": None,
        "random_weights": request.random_weights,
        "trusted": tuple(sorted(request.trusted)),
    }
    return profile.model_copy(update=changed)
