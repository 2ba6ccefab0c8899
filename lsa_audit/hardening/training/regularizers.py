"""The regularisers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...settings.recipe import Recipe
from ...settings.recipe import Regularizer as Name
from .atlr import Atlr
from .base import Nothing, Regularizer
from .lad import Form, Lad

Builder = Callable[[Recipe, Mapping[str, float]], Regularizer]
"""From the recipe and the layers to act on, in the order of execution, with their weights, which only atlr reads."""


def _lad(form: Form) -> Builder:
    return lambda recipe, gammas: Lad(form, tuple(gammas), recipe.lad_step, recipe.lad_scale, recipe.lad_warmup)


REGULARIZERS: dict[Name, Builder] = {
    "none": lambda *_: Nothing(),
    "atlr": lambda _, gammas: Atlr(gammas),
    "lad-lie": _lad("lie"),
    "lad-strang": _lad("strang"),
}
