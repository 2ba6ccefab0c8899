"""The function behind each name of the catalogue."""

from __future__ import annotations

from . import apgd, fgsm, noise, pgd, square
from .base import Attack

FUNCTIONS: dict[str, Attack] = {
    "fgsm": fgsm.run,
    "pgd": pgd.run,
    "apgd-ce": apgd.run_ce,
    "square": square.run,
    "gaussian": noise.gaussian,
    "uniform": noise.uniform,
    "salt": noise.salt,
    "pepper": noise.pepper,
    "speckle": noise.speckle,
}
