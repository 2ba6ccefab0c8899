"""CIFAR-10 with VGG-19 and WideResNet (arXiv 2202.02626). Full data and a GPU are needed for figures that say much."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from torch import Tensor, nn

from lsa_audit.data.base import InputSpec
from lsa_audit.errors import DataError

from .experiment import Experiment, Network, Parts, Setting, Sizes, part
from .mnist import arrays

SPEC = InputSpec((3, 32, 32))
VGG19 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0)
"""Channels of the convolutions; 0 is a pooling."""
GAMMA = 1.0


def vgg19(channels: tuple[int, ...] = VGG19) -> nn.Module:
    """VGG-19 for 32 x 32 images: batch norms, and one linear layer behind the convolutions."""
    steps = OrderedDict[str, nn.Module]()
    inputs, index = 3, 0
    for outputs in channels:
        if not outputs:
            steps[f"pool{index}"] = nn.MaxPool2d(2)
            continue
        steps[f"conv{index}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        steps[f"norm{index}"] = nn.BatchNorm2d(outputs)
        steps[f"relu{index}"] = nn.ReLU()
        inputs, index = outputs, index + 1
    steps.update(average=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), linear=nn.Linear(inputs, 10))
    return nn.Sequential(steps)


class _Wide(nn.Module):
    """A block of a WideResNet: norm, ReLU, convolution, twice."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(inputs), nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(outputs), nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        ready = self.relu1(self.norm1(features))
        changed: Tensor = self.conv2(self.relu2(self.norm2(self.conv1(ready))))
        return changed + (features if self.shortcut is None else self.shortcut(ready))


def wideresnet(blocks: int = 4, width: int = 10) -> nn.Module:
    """WideResNet for 32 x 32 images, 6 * blocks + 4 layers deep (arXiv 1605.07146); by default 28-10."""
    steps = OrderedDict[str, nn.Module](conv=nn.Conv2d(3, 16, 3, padding=1, bias=False))
    inputs = 16
    for group, outputs in enumerate((16 * width, 32 * width, 64 * width)):
        for index in range(blocks):
            steps[f"block{group}_{index}"] = _Wide(inputs, outputs, 2 if group and not index else 1)
            inputs = outputs
    steps.update(
        norm=nn.BatchNorm2d(inputs),
        relu=nn.ReLU(),
        average=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        linear=nn.Linear(inputs, 10),
    )
    return nn.Sequential(steps)


def load(folder: Path, sizes: Sizes) -> Parts:
    """The whole of CIFAR-10 where it lies in the folder, else its first 4,000 training and 1,000 test images.

    Raises:
        DataError: fewer training images than asked for.
    """
    home = folder / "cifar10"
    whole = home / "cifar10_train.npz", home / "cifar10_test.npz"
    first = home / "cifar10_train_first4000.npz", home / "cifar10_test_first1000.npz"
    training, test = (arrays(path) for path in (whole if all(path.is_file() for path in whole) else first))
    end = sizes.training + sizes.validation
    if len(training[0]) < end:
        hint = "put cifar10_train.npz and cifar10_test.npz with images and labels there, or ask for fewer with --sizes"
        raise DataError(f"{home} holds {len(training[0])} training images, not {end}", hint)
    return Parts(
        part(training, (0, sizes.training), "cifar10 training images", SPEC),
        part(training, (sizes.training, end), "cifar10 training images, validation part", SPEC),
        part(test, (0, sizes.test), "cifar10 test images", SPEC),
    )


def _settings(prefix: str, row: str, network: Network, layer: str) -> tuple[Setting, ...]:
    at = f"{prefix}-at"
    return (
        Setting(f"{prefix}-normal", network, {"at": "none"}, row=f"{row} normal"),
        Setting(at, network, {}, row=f"{row} AT-APGD"),
        Setting(f"{at}-lr", network, {"reg": "atlr"}, {layer: GAMMA}, f"{row} AT-APGD-LR-L1", at),
    )


EXPERIMENT = Experiment(
    name="cifar",
    title="CIFAR-10, models C (VGG-19) and D (WideResNet)",
    source="Khalooei et al., arXiv 2202.02626",
    differs=(
        "The source names VGG-19 and WideResNet alone: here VGG-19 has batch norms and one linear layer, and "
        "WideResNet is 28-10.",
        "APGD with 7 steps at 8/255 in training, SGD at .1 with a cosine, batches of 128, crops and flips: none of "
        "this is published.",
        f"L1 is taken for the second ReLU, counted from 0 (in WideResNet the second one of the first block); gamma is "
        f"{GAMMA:g}.",
        "The weights of the epoch that is most robust under PGD-10 on the validation images are kept.",
    ),
    load=load,
    sizes=Sizes(training=49_000, validation=1_000, test=10_000, scan=1_000, autoattack=1_000),
    settings=(
        *_settings("vgg19", "C", vgg19, "relu1"),
        *_settings("wideresnet", "D", wideresnet, "block0_0.relu2"),
    ),
    recipe={
        "at": "apgd",
        "epsilon": 8 / 255,
        "epochs": 30,
        "batch_size": 128,
        "lr": 0.1,
        "augment": ("flip", "crop"),
        "max_clean_drop": 1.0,
    },
    published={
        "C normal": (90.53, 48.91, 43.91, 31.50, 22.29),
        "C AT-APGD": (83.68, 74.69, 72.21, 50.04, 41.45),
        "C AT-APGD-LR-L1": (83.55, 75.32, 73.35, 52.36, 46.01),
        "D normal": (90.01, 40.01, 36.35, 22.30, 16.20),
        "D AT-APGD": (82.60, 50.12, 47.11, 41.46, 40.01),
        "D AT-APGD-LR-L1": (81.81, 53.21, 48.17, 43.01, 42.65),
    },
    grid=(0.0, 0.01, 0.03, 0.1, 0.2),
    strong=(0.03, 0.1, 0.2),
    decisive=(0.03,),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
