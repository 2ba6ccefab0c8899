"""The base trainings by name: how perturbed images are made, and what their logits are trained on."""

from __future__ import annotations

from collections.abc import Callable

from ...settings.recipe import Base, Recipe
from .base import Examples, Objective
from .examples import Apgd, Clean, Free, Kl, Pgd
from .objectives import CrossEntropy, Mart, Trades

Builder = Callable[[Recipe], tuple[Examples, Objective]]

BASES: dict[Base, Builder] = {
    "none": lambda recipe: (Clean(), CrossEntropy(recipe.label_smoothing)),
    "fgsm": lambda recipe: (Pgd(recipe), CrossEntropy(recipe.label_smoothing)),
    "pgd": lambda recipe: (Pgd(recipe), CrossEntropy(recipe.label_smoothing)),
    "apgd": lambda recipe: (Apgd(recipe), CrossEntropy(recipe.label_smoothing)),
    "free": lambda recipe: (Free(recipe), CrossEntropy(recipe.label_smoothing)),
    "trades": lambda recipe: (Kl(recipe), Trades(recipe.beta, recipe.label_smoothing)),
    "mart": lambda recipe: (Pgd(recipe), Mart(recipe.beta, recipe.label_smoothing)),
}
