"""Trains the two networks that ship with the package, from a seed, and writes their weights.

    python benchmarks/train_builtin.py                 train and write lsa_audit/models/weights/*.safetensors
    python benchmarks/train_builtin.py --check         train and compare the held-out accuracy with the shipped one

Training runs on one CPU thread in float64, so that rounding on other machines hardly moves the weights, which are then
rounded to float32. It is ordinary training: no adversarial images.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sklearn
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from lsa_audit.data.builtin import Split, digits_split, moons_split
from lsa_audit.models.base import PixelModel
from lsa_audit.models.builtin import BUILTINS, weights_path

SEED = 313


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: SGD with Nesterov momentum under a one-cycle learning rate."""

    split: Callable[[], Split]
    data: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float


RECIPES = {
    "digits-cnn": Recipe(digits_split, "scikit-learn digits, 70 % of each class", 15, 64, 0.05, 1e-3),
    "moons-mlp": Recipe(moons_split, "scikit-learn moons, noise 0.1, half of each class", 60, 50, 0.05, 1e-4),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a held-out accuracy differs")
    parser.add_argument("--out", type=Path, default=None, help="write to another folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    differs = False
    for name, recipe in RECIPES.items():
        path = (options.out / weights_path(name).name) if options.out else weights_path(name)
        state, right, total = train(name, recipe)
        accuracy = f"{right}/{total}"
        if options.check:
            with safe_open(path, "pt") as shipped:
                expected = (shipped.metadata() or {})["held_out_right"]
            same = accuracy == expected
            differs = differs or not same
            print(f"{name}: retrained {accuracy}, shipped {expected}: {'equal' if same else 'DIFFERENT'}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(state, path, metadata=metadata(name, recipe, accuracy))
            path.chmod(0o644)  # safetensors makes the file readable by its owner only
            print(f"{name}: {accuracy} = {right / total:.2%}, {path.stat().st_size:,} bytes")
    return int(differs)


def train(name: str, recipe: Recipe) -> tuple[dict[str, Tensor], int, int]:
    """The trained float32 weights, and how many of how many held-out images they get right."""
    torch.manual_seed(SEED)
    split = recipe.split()
    images, labels = split.train_images.double(), split.train_labels
    model = PixelModel(BUILTINS[name].build(), BUILTINS[name].preprocessing).double()
    model.binary = BUILTINS[name].classes == 2
    optimizer = torch.optim.SGD(
        model.parameters(),
        recipe.learning_rate,
        momentum=0.9,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    batches = -(-len(images) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, recipe.epochs * batches)
    for _ in range(recipe.epochs):
        for chosen in torch.randperm(len(images)).split(recipe.batch_size):
            loss = functional.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval().float()
    state = {key: value.detach().clone().contiguous() for key, value in model.network.state_dict().items()}
    return state, count_right(model, split), len(split.test_labels)


def count_right(model: nn.Module, split: Split) -> int:
    with torch.no_grad():
        return int((model(split.test_images).argmax(1) == split.test_labels).sum())


def metadata(name: str, recipe: Recipe, accuracy: str) -> dict[str, str]:
    """What the file says about itself; safetensors takes text only."""
    return {
        "format": "pt",
        "model": name,
        "made_by": "benchmarks/train_builtin.py",
        "data": recipe.data,
        "seed": str(SEED),
        "epochs": str(recipe.epochs),
        "batch_size": str(recipe.batch_size),
        "learning_rate": str(recipe.learning_rate),
        "weight_decay": str(recipe.weight_decay),
        "training": "ordinary, cross-entropy, float64",
        "held_out_right": accuracy,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
