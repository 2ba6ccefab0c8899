"""How good the model is after an epoch, and whether training should go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...attacks import PGD_STEP_SHARE
from ...attacks.base import Batch, judge
from ...attacks.budget import Budget
from ...attacks.functions import FUNCTIONS
from ...data.base import Dataset
from ...device.ranks import Ranks
from ...models.answers import is_right
from ...records.hardening import Ending, Epoch
from ...settings.recipe import Recipe
from ...units import format_percent

BATCH = 100
GAP, WIDE_GAP = 0.3, 0.5
LOST_SHARE = 0.5
CHANCE_DEVIATIONS = 3.0
PATIENT_SHARE = 0.5


@dataclass(frozen=True)
class Score:
    """Shares of the validation images that are right, 0..1."""

    clean: float
    robust: float

    def __str__(self) -> str:
        return f"clean {format_percent(self.clean)}, PGD {format_percent(self.robust)}"


def validate(module: nn.Module, dataset: Dataset, recipe: Recipe, device: torch.device, ranks: Ranks) -> Score:
    """Clean accuracy, and accuracy under PGD at the recipe's norm and epsilon with random starts of their own.

    Cost: one forward and `validation_steps` forwards and backwards an image, split over the processes.
    """
    budget = Budget(recipe.norm, recipe.epsilon, recipe.validation_steps, step_size=PGD_STEP_SHARE * recipe.epsilon)
    counts = torch.zeros(2, device=device)
    for start in range(ranks.rank * BATCH, len(dataset), ranks.size * BATCH):
        stop = min(start + BATCH, len(dataset))
        images, labels = dataset.images(start, stop).to(device), dataset.labels[start:stop].to(device)
        with torch.no_grad():
            right = is_right(module(images), labels)
        batch = Batch(images, labels, dataset.image_ids[start:stop], right)
        robust = right
        if recipe.epsilon > 0:
            robust = judge(module, FUNCTIONS["pgd"], batch, budget, seed=recipe.seed).right
        counts += torch.stack([right.sum(), robust.sum()])
    clean, robust_count = (ranks.sum(counts) / len(dataset)).tolist()
    return Score(clean, robust_count)


def is_chance(clean: float, labels: Tensor) -> bool:
    """Whether so many right ones are what guessing the commonest label gives, within three standard deviations."""
    share = float(labels.bincount().max()) / len(labels)
    return clean <= share + CHANCE_DEVIATIONS * math.sqrt(share * (1 - share) / len(labels))


def ending(epochs: Sequence[Epoch], before: Score, labels: Tensor, recipe: Recipe) -> tuple[Ending, str] | None:
    """Why training should end now, with a sentence that says what was seen; None to go on.

    Args:
        epochs: those done so far, at least one.
        labels: [N] of the validation images.
    """
    last, earlier = epochs[-1], epochs[:-1]
    best = max([entry.robust for entry in earlier], default=0.0)
    gap = last.train_robust - last.robust
    single_step = recipe.at in ("fgsm", "free")
    if single_step and (gap > WIDE_GAP or (gap > GAP and last.robust < LOST_SHARE * best)):
        return "catastrophic-overfitting", (
            f"after epoch {last.epoch} {last.train_robust:.1%} of the training images withstand {recipe.at}, but only "
            f"{last.robust:.1%} of the validation images PGD-{recipe.validation_steps}: the model has learned to "
            "resist the training attack alone"
        )
    learned = any(not is_chance(score, labels) for score in (before.clean, *(entry.clean for entry in earlier)))
    lately = [is_chance(entry.clean, labels) for entry in epochs[-2:]]
    # One epoch at chance may be a stumble; a model that starts there gets half of the epochs to leave it.
    given_up = last.epoch >= recipe.epochs or (all(lately) and len(lately) == 2)
    late = last.epoch >= max(2, math.ceil(PATIENT_SHARE * recipe.epochs))
    if lately[-1] and given_up and (learned or late):
        return "collapsed", (
            f"after epoch {last.epoch} the clean accuracy is {last.clean:.1%}, no better than always giving one label"
        )
    if last.epoch >= recipe.epochs:
        return "finished", f"all {recipe.epochs} epochs are done"
    if recipe.patience is not None and len(epochs) >= recipe.patience:
        better = any(entry.kept for entry in epochs[-recipe.patience :])
        if not better:
            return "early-stop", f"no better checkpoint in {recipe.patience} epochs"
    return None


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """What is worth reading while the training goes on."""
    kept = ", kept" if epoch.kept else ""
    score = Score(epoch.clean, epoch.robust)
    return f"epoch {epoch.epoch} of {epochs}: loss {epoch.loss:.3f}, {score}{kept} ({epoch.images_per_s:.0f} images/s)"
