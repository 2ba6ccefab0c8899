"""The optimiser, and how its learning rate runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from timm.scheduler.scheduler_factory import create_scheduler_v2
from torch import nn

from ...settings.recipe import Recipe, ramp

NAMES = {"cosine": "cosine", "linear": "poly", "multistep": "multistep"}
MILESTONES = (0.5, 0.75)
"""Of multistep, as shares of the training; the rate falls to a tenth at each, as timm counts one step before."""


def make_optimizer(parameters: Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser. Weight decay leaves out biases and the scales of norms, which have one dimension."""
    groups = [
        {"params": [entry for entry in parameters if entry.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [entry for entry in parameters if entry.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, recipe.momentum, nesterov=recipe.momentum > 0)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, recipe.lr)


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps_an_epoch: int) -> Callable[[int], object]:
    """A function that sets the learning rate for a step, counted from 0; it depends on nothing else."""

    def warmed(step: int, rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate * ramp(step, steps_an_epoch, recipe.warmup)

    if recipe.schedule == "none":
        return lambda step: warmed(step, recipe.lr)
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=NAMES[recipe.schedule],
        num_epochs=recipe.epochs,
        decay_milestones=[max(1, round(share * recipe.epochs)) for share in MILESTONES],
        decay_rate=1.0 if recipe.schedule == "linear" else 0.1,
        step_on_epochs=False,
        updates_per_epoch=steps_an_epoch,
    )

    def scheduled(step: int) -> None:
        scheduler.step_update(step)
        warmed(step, float(optimizer.param_groups[0]["lr"]))

    return scheduled
