"""The function behind each name of the catalogue."""

from __future__ import annotations

from . import apgd, fab, fgsm, noise, pgd, square
from .base import Attack

FUNCTIONS: dict[str, Attack] = {
    "fgsm": fgsm.run,
    "pgd": pgd.run,
    "apgd-ce": apgd.run_ce,
    "apgd-dlr": apgd.run_dlr,
    "apgd-t": apgd.run_targeted,
    "fab-t": fab.run,
    "square": square.run,
    "gaussian": noise.gaussian,
    "uniform": noise.uniform,
    "salt": noise.salt,
    "pepper": noise.pepper,
    "speckle": noise.speckle,
}
