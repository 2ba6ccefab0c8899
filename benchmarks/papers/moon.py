"""Two moons with model A: five ways of training, four of them also with AT-LR (table 2 of arXiv 2202.02626)."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy
from sklearn.datasets import make_moons
from torch import nn

from lsa_audit.data.base import InputSpec

from .experiment import Experiment, Parts, Setting, Sizes, part

NOISE, DATA_SEED = 0.2, 313
OFFSET, SCALE = 2.5, 6.0
"""Coordinates lie in -1.6..2.7; with half a unit around them nothing is clipped at 0 or 1."""
EPSILON = 0.3
SPEC = InputSpec((2,))
LAYER, GAMMA = "elu2", 0.3


def network() -> nn.Module:
    """Model A for points [N, 2]: three hidden layers of 100, one logit."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            linear0=nn.Linear(2, 100),
            elu0=nn.ELU(),
            linear1=nn.Linear(100, 100),
            elu1=nn.ELU(),
            linear2=nn.Linear(100, 100),
            elu2=nn.ELU(),
            linear3=nn.Linear(100, 1),
        )
    )


def load(_: Path, sizes: Sizes) -> Parts:
    """Points of one draw, as pixels by (raw + 2.5) / 6 on both axes; no file is read."""
    middle, end = sizes.training + sizes.validation, sizes.training + sizes.validation + sizes.test
    raw, labels = make_moons(n_samples=end, noise=NOISE, random_state=DATA_SEED)
    points = ((raw + OFFSET) / SCALE).astype(numpy.float32)
    return Parts(
        part((points, labels), (0, sizes.training), "moons, training points", SPEC),
        part((points, labels), (sizes.training, middle), "moons, validation points", SPEC),
        part((points, labels), (middle, end), "moons, test points", SPEC),
    )


BASES: dict[str, dict[str, Any]] = {
    "AT-FGSM": {"at": "fgsm", "step_size": EPSILON / SCALE},
    "AT-PGD": {"at": "pgd"},
    "AT-TRADES": {"at": "trades"},
    "AT-FAST": {"at": "fgsm"},
}


def _settings() -> tuple[Setting, ...]:
    plain = [Setting(row.lower(), network, recipe, row=row) for row, recipe in BASES.items()]
    regularised = [
        Setting(f"{row.lower()}-lr", network, {**recipe, "reg": "atlr"}, {LAYER: GAMMA}, f"{row}-LR-L2", row.lower())
        for row, recipe in BASES.items()
    ]
    return (Setting("normal", network, {"at": "none"}, row="normal"), *plain, *regularised)


EXPERIMENT = Experiment(
    name="moon",
    title="Moon, model A",
    source="Khalooei et al., arXiv 2202.02626, table 2",
    differs=(
        f"The source gives neither the number of points nor their noise: here 1,000 train, 500 choose the epoch and "
        f"1,000 test, with noise {NOISE} (scikit-learn, random_state {DATA_SEED}).",
        f"Epsilons are those of the original coordinates. Points become pixels by (raw + {OFFSET:g}) / {SCALE:g} on "
        "both axes, the network undoes it (mean and standard deviation of the input), and an epsilon is divided by "
        f"{SCALE:g}; no attacked point reaches 0 or 1.",
        f"Radius in training {EPSILON}, Adam at 1e-3, batches of 100, 60 epochs, PGD with 7 and TRADES with 10 steps: "
        "none of this is published.",
        "AT-FGSM starts at a random point of the ball, as our fgsm always does, and steps one radius; AT-FAST steps "
        "1.25 radii. The source's FGSM has no random start, as far as it can be told.",
        f"L2 is taken for the third hidden layer, counted from 0: the output of the third ELU. Gamma, which is not "
        f"published, is {GAMMA:g}: of .03, .1, .3 and 1 the largest that kept the validation accuracy of AT-PGD-LR "
        "with seed 0; with 1 that training collapsed.",
        "The weights of the epoch that is most robust under PGD-10 on the validation points are kept (without attack "
        "in training: the most accurate one).",
    ),
    load=load,
    sizes=Sizes(training=1_000, validation=500, test=1_000, scan=1_000, autoattack=200),
    settings=_settings(),
    recipe={
        "epsilon": EPSILON / SCALE,
        "epochs": 60,
        "batch_size": 100,
        "optimizer": "adam",
        "lr": 1e-3,
        "weight_decay": 0.0,
        "schedule": "none",
        "max_clean_drop": 1.0,
    },
    published={
        "normal": (97.07, 93.63, 82.50, 76.83, 63.79, 52.35),
        "AT-FGSM": (95.86, 91.98, 87.88, 81.33, 70.54, 58.69),
        "AT-PGD": (86.50, 83.89, 80.87, 76.61, 72.57, 60.02),
        "AT-TRADES": (96.17, 93.06, 85.78, 74.20, 68.62, 59.68),
        "AT-FAST": (94.32, 89.72, 84.91, 78.35, 70.18, 61.65),
        "AT-FGSM-LR-L2": (93.98, 93.01, 89.12, 84.01, 75.15, 63.25),
        "AT-PGD-LR-L2": (88.78, 86.93, 81.25, 77.01, 72.81, 66.58),
        "AT-FAST-LR-L2": (92.91, 90.31, 86.26, 81.53, 75.09, 67.65),
        "AT-TRADES-LR-L2": (96.67, 93.20, 86.56, 81.25, 79.50, 68.65),
    },
    grid=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    strong=(0.3, 0.4, 0.5),
    decisive=(0.3, 0.5),
    scale=SCALE,
    mean=(OFFSET / SCALE,),
    std=(1 / SCALE,),
)
