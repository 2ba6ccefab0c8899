"""Whether it was the learning rate that broke a model in training: the same epochs again with a smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from ..progress import Progress, Silent
from ..records.hardening import Epoch, LearningRateTrial, TrainingLog
from ..settings.recipe import USUAL_LR, Recipe
from ..units import format_percent, quantity
from .training.loop import Setup, Training
from .training.state import copy_of, put, trainable

BROKEN_SHARE = 0.5
LOST, STILL_LOST = 0.2, 0.1
EARLY = 2


def broken_at(epochs: Sequence[Epoch], before: float, recipe: Recipe) -> Epoch | None:
    """The early epoch in which the model broke, and did not recover.

    Broken: at most half of the clean accuracy was left, from then on. A learning rate above the optimiser's usual one
    is suspected sooner: where 20 points were lost, and no later epoch came back to within 10.

    Args:
        before: clean accuracy before the training.
    """
    limits = [(BROKEN_SHARE * before, BROKEN_SHARE * before)]
    if recipe.lr > recipe.smaller_lr >= USUAL_LR[recipe.optimizer]:
        limits.append((before - LOST, before - STILL_LOST))
    for low, back in limits:
        broken = next((entry for entry in epochs if entry.clean <= low), None)
        if broken is None or broken.epoch > EARLY + recipe.warmup:
            continue
        if all(entry.clean <= back for entry in epochs[broken.epoch - 1 :]):
            return broken
    return None


def tried(setup: Setup, untrained: dict[str, Tensor], log: TrainingLog, progress: Progress) -> LearningRateTrial | None:
    """What a smaller learning rate does in as many epochs; None where the model was not broken. The weights stay.

    Args:
        setup: of the training.
        untrained: the weights that the training began with.

    Cost: the epochs until the model was broken, at most two and those of the warm-up, and a validation.
    """
    recipe, broken = setup.recipe, broken_at(log.epochs, log.clean_before, setup.recipe)
    if broken is None:
        return None
    lr = recipe.smaller_lr
    progress.message(
        f"clean accuracy fell from {format_percent(log.clean_before)} to {format_percent(broken.clean)}: "
        f"{quantity(broken.epoch, 'epoch')} with --lr {lr:g}, to see whether the learning rate {recipe.lr:g} did that"
    )
    trained = copy_of(setup.model.module)
    changed = replace(setup, recipe=recipe.model_copy(update={"lr": lr}))
    try:
        put(setup.model.module, untrained)
        with trainable(setup.model, setup.graph, channels_last=recipe.channels_last):
            training = Training(changed, Silent(), None)
            steps = broken.epoch * training.batches.steps_an_epoch
            progress.stage("smaller learning rate", steps)
            for _ in range(steps):
                training.advance()
                progress.advance(1)
            clean = training.validated().clean
    finally:
        put(setup.model.module, trained)
    # At least half of what was lost is still there.
    at_fault = clean >= (log.clean_before + broken.clean) / 2
    return LearningRateTrial(lr=lr, epoch=broken.epoch, clean=clean, at_fault=at_fault)


def sentence(trial: LearningRateTrial | None, log: TrainingLog, recipe: Recipe) -> str:
    """What the trial says of the learning rate; empty where none was made."""
    if trial is None:
        return ""
    fell = (
        f"clean accuracy fell from {format_percent(log.clean_before)} to "
        f"{format_percent(log.epochs[trial.epoch - 1].clean)} in epoch {trial.epoch}"
    )
    if trial.at_fault:
        return (
            f"the learning rate {recipe.lr:g} broke the model: {fell}, with {trial.lr:g} it is "
            f"{format_percent(trial.clean)} then; try --lr {trial.lr:g}"
        )
    return (
        f"the training broke the model: {fell}, and with a learning rate of {trial.lr:g} instead of {recipe.lr:g} to "
        f"{format_percent(trial.clean)}; try a smaller --epsilon, --gamma or --lad-step"
    )
