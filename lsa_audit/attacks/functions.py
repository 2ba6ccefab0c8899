"""The function behind each name of the catalogue."""

from __future__ import annotations

from . import apgd, cw, ddn, deepfool, ensemble, fab, fgsm, noise, pgd, square
from .base import Attack

FUNCTIONS: dict[str, Attack] = {
    "fgsm": fgsm.run,
    "pgd": pgd.run,
    "apgd-ce": apgd.run_ce,
    "apgd-dlr": apgd.run_dlr,
    "apgd-t": apgd.run_targeted,
    "fab-t": fab.run,
    "deepfool": deepfool.run,
    "cw-l2": cw.run,
    "ddn": ddn.run,
    "square": square.run,
    "layer-pgd": pgd.run_layer,
    "autoattack": ensemble.run_standard,
    "cascade": ensemble.run_cascade,
    "gaussian": noise.gaussian,
    "uniform": noise.uniform,
    "salt": noise.salt,
    "pepper": noise.pepper,
    "speckle": noise.speckle,
}
