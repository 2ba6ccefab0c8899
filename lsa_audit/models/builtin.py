"""The two networks that ship with the package, with their weights: `digits-cnn` and `moons-mlp`.

`benchmarks/train_builtin.py` in the repository made the weights; docs/builtin-models.md says how.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ..errors import UsageError
from .assembly import Built, assemble
from .base import Model, Preprocessing
from .checkpoint import load_state_dict
from .request import ModelRequest
from .restoring import apply
from .seeding import seeded

WEIGHTS = Path(__file__).parent / "weights"


class DigitsCnn(nn.Module):
    """Three convolutions with batch norm, one residual addition, pooling and one linear layer.

    [N, 1, 8, 8] -> logits [N, 10].
    """

    def __init__(self, channels: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu3 = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.linear = nn.Linear(channels * 16, classes)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, 1, 8, 8] -> logits [N, 10]."""
        stem = self.relu1(self.bn1(self.conv1(images)))
        branch = self.relu2(self.bn2(self.conv2(stem)))
        branch = self.bn3(self.conv3(branch))
        features: Tensor = self.pool(self.relu3(stem + branch))
        logits: Tensor = self.linear(features.flatten(1))
        return logits


class MoonsMlp(nn.Sequential):
    """Model A of arXiv 2202.02626, table 1: three times linear with 100 outputs and ELU, then one logit.

    [N, 2] -> logit of class 1 [N, 1].

    Differs from the source: nothing in the architecture; the source's training settings are not published.
    """

    def __init__(self, width: int = 100) -> None:
        super().__init__()
        inputs = 2
        for index in (1, 2, 3):
            self.add_module(f"linear{index}", nn.Linear(inputs, width))
            self.add_module(f"elu{index}", nn.ELU())
            inputs = width
        self.add_module("linear4", nn.Linear(width, 1))


@dataclass(frozen=True)
class Builtin:
    """One network of the package and how its input is prepared."""

    build: Callable[[], nn.Module]
    preprocessing: Preprocessing
    classes: int


BUILTINS: dict[str, Builtin] = {
    "digits-cnn": Builtin(
        DigitsCnn,
        # Mean and spread of the training half of scikit-learn's digits, rounded to three places.
        Preprocessing(
            (0.304,), (0.375,), "shipped with the weights", input_shape=(1, 8, 8), channels=1, interpolation="bilinear"
        ),
        classes=10,
    ),
    "moons-mlp": Builtin(
        MoonsMlp,
        # Undoes the map of the points into [0, 1]: the network sees make_moons' own coordinates.
        Preprocessing((0.375,), (0.25,), "shipped with the weights", input_shape=(2,)),
        classes=2,
    ),
}


def weights_path(name: str) -> Path:
    """Where the shipped weights of a built-in network lie."""
    return WEIGHTS / f"{name}.safetensors"


def load(request: ModelRequest) -> Model:
    """A built-in network with its shipped weights, a checkpoint's, or random ones.

    Raises:
        UsageError: arguments were given, or a wrong mean, std or input size.
        ModelError, UnsafeError: the checkpoint cannot be used.
    """
    builtin = BUILTINS[request.spec]
    if request.arguments:
        raise UsageError(f"{request.spec} takes no --model-arg ({', '.join(request.arguments)})", "leave it out")
    with seeded(request.seed):
        network = builtin.build()
    if request.checkpoint is None and not request.random_weights:
        state, _ = load_state_dict(weights_path(request.spec))
        apply(network, state, weights_path(request.spec).name)
    built = Built(
        network=network,
        name=request.spec,
        architecture=type(network).__name__,
        weights="shipped with the package",
        metadata=builtin.preprocessing,
        classes=builtin.classes,
    )
    return assemble(request, "builtin", built)
