"""MNIST with model B: adversarial training with and without layer-wise regularisers (table 3 of arXiv 2202.02626)."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy
from torch import nn

from lsa_audit.data.base import InputSpec

from .experiment import Experiment, Parts, Setting, Sizes, part

SPEC = InputSpec((1, 28, 28))
HIDDEN = ("relu0", "relu1", "relu2", "relu3")
GAMMAS = (1.0, 3.0)


def network() -> nn.Module:
    """Model B for images [N, 1, 28, 28]; the source gives no padding, so there is none."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv0=nn.Conv2d(1, 16, 5),
            relu0=nn.ReLU(),
            conv1=nn.Conv2d(16, 32, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            linear3=nn.Linear(576, 100),
            relu3=nn.ReLU(),
            linear4=nn.Linear(100, 10),
        )
    )


def load(folder: Path, sizes: Sizes) -> Parts:
    """The first images of the official order; validation follows training."""
    training, test = (arrays(folder / "mnist" / f"mnist_{name}.npz") for name in ("train", "test"))
    end = sizes.training + sizes.validation
    return Parts(
        part(training, (0, sizes.training), "mnist training images", SPEC),
        part(training, (sizes.training, end), "mnist training images, validation part", SPEC),
        part(test, (0, sizes.test), "mnist test images", SPEC),
    )


def arrays(path: Path) -> tuple[Any, Any]:
    """Images and labels of an .npz file."""
    with numpy.load(path, allow_pickle=False) as found:
        return found["images"], found["labels"]


def _settings() -> tuple[Setting, ...]:
    atlr = [
        Setting(
            f"gamma{gamma:g}-layer{index}",
            network,
            {"reg": "atlr"},
            {layer: gamma},
            row="AT-APGD-LR-L0" if index == 0 else None,
            base="at",
        )
        for gamma in GAMMAS
        for index, layer in enumerate(HIDDEN)
    ]
    lad = [Setting(name, network, {"reg": name}, dict.fromkeys(HIDDEN, 0.0), base="at") for name in LAD]
    normal = Setting("normal", network, {"at": "none", "steps": None}, row="normal")
    return (normal, Setting("at", network, {}, row="AT-APGD"), *atlr, *lad)


LAD = ("lad-lie", "lad-strang")

EXPERIMENT = Experiment(
    name="mnist",
    title="MNIST, model B",
    source="Khalooei et al., arXiv 2202.02626, table 3",
    differs=(
        "The first 10,000 training images instead of 60,000, 8 epochs, Adam at 1e-3, batches of 100; the source gives "
        "neither epochs nor optimiser, and one run where this gives several seeds.",
        "PGD with 5 steps at .3 in training instead of APGD, whose steps and radius the source does not give; step "
        "size .15 (2.5 times the radius over the steps); the radius rises from 0 in the first epoch.",
        "The source's layer 0 is taken for the output of the first ReLU, and gamma, which it does not give, is 1 or 3.",
        "LAD (openreview Ef1nNHQHZ20) moves the four hidden ReLU outputs with the tool's default step.",
        "The weights of the epoch that is most robust under PGD-10 at .3 on 300 further training images are kept "
        "(without attack in training: the most accurate one); the source does not say which are.",
    ),
    load=load,
    sizes=Sizes(training=10_000, validation=300, test=500, scan=200, autoattack=50),
    settings=_settings(),
    recipe={
        "at": "pgd",
        "epsilon": 0.3,
        "steps": 5,
        "step_size": 0.15,
        "epsilon_warmup": 1.0,
        "epochs": 8,
        "batch_size": 100,
        "optimizer": "adam",
        "lr": 1e-3,
        "weight_decay": 0.0,
        "schedule": "none",
        "max_clean_drop": 1.0,
    },
    published={
        "normal": (98.82, 82.10, 47.20, 17.87, 6.96, 4.25),
        "AT-APGD": (99.36, 98.54, 97.67, 96.97, 71.72, 33.73),
        "AT-APGD-LR-L0": (98.97, 98.11, 97.36, 97.17, 94.60, 55.52),
    },
    grid=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    strong=(0.3, 0.4, 0.5),
    decisive=(0.3, 0.4),
)
