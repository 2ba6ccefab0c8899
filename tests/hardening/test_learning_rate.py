"""Which trainings were broken by their learning rate."""

from __future__ import annotations

import pytest
import torch

from lsa_audit.hardening.learning_rate import broken_at, sentence, tried
from lsa_audit.hardening.training.loop import train
from lsa_audit.hardening.training.state import copy_of
from lsa_audit.progress import Silent
from lsa_audit.records.hardening import Epoch, LearningRateTrial
from lsa_audit.settings.recipe import Recipe

from .training.trainings import setup


def epochs(*clean: float) -> list[Epoch]:
    usual = {"lr": 0.1, "epsilon": 0.1, "loss": 1.0, "penalty": None, "train_robust": 0.1, "robust": 0.1, "kept": False}
    return [
        Epoch(epoch=place, step=place, clean=value, duration_s=1.0, images_per_s=1.0, **usual)
        for place, value in enumerate(clean, 1)
    ]


@pytest.mark.parametrize(
    ("lr", "clean", "broken"),
    [
        (1.0, (0.1, 0.1), 1),
        (1.0, (0.9, 0.1, 0.1), 2),
        (1.0, (0.9, 0.9, 0.9, 0.1), None),
        (1.0, (0.5, 0.85), 1),
        (1.0, (0.5, 0.89), None),
        (1.0, (0.75, 0.85), 1),
        (1.0, (0.8, 0.85), None),
        (0.01, (0.1, 0.1), 1),
        (0.01, (0.1, 0.6), None),
        (0.01, (0.75, 0.75), None),
        (0.001, (0.6, 0.6), None),
        (0.01, (), None),
    ],
)
def test_the_epoch_in_which_it_broke(lr, clean, broken):
    """Before: 98 %."""
    found = broken_at(epochs(*clean), 0.98, Recipe(lr=lr))
    assert (found and found.epoch) == broken


def test_a_warm_up_lets_it_break_later():
    late = (0.9, 0.9, 0.9, 0.1)
    assert broken_at(epochs(*late), 0.98, Recipe(lr=1.0, warmup=2.0)).epoch == 4


@pytest.mark.slow_except("20.0-True")
@pytest.mark.parametrize(("lr", "at_fault"), [(20.0, True), (0.02, None)])
def test_a_smaller_rate_shows_what_the_large_one_did_and_leaves_no_trace(lr, at_fault):
    made = setup({"at": "fgsm", "lr": lr, "epochs": 2, "schedule": "none", "clip_grad": 1.0})
    untrained = copy_of(made.model.module)
    log = train(made, Silent())
    after = copy_of(made.model.module)
    flags = [(parameter.requires_grad, parameter.grad) for parameter in made.model.module.parameters()]
    found = tried(made, untrained, log, Silent())
    assert (found and found.at_fault) == at_fault
    assert all(torch.equal(value, after[name]) for name, value in copy_of(made.model.module).items())
    assert [(parameter.requires_grad, parameter.grad) for parameter in made.model.module.parameters()] == flags
    said = sentence(found, log, made.recipe)
    if at_fault:
        assert said.startswith("the learning rate 20 broke the model: clean accuracy fell from")
        assert said.endswith("try --lr 0.01")
    else:
        assert said == ""


def test_what_a_smaller_rate_does_not_mend_is_not_laid_on_it():
    trial = LearningRateTrial(lr=0.001, epoch=1, clean=0.12, at_fault=False)
    changes = {"epochs": tuple(epochs(0.1)), "clean_before": 0.98}
    log = train(setup({"epochs": 1}), Silent()).model_copy(update=changes)
    assert sentence(trial, log, Recipe(lr=0.01)) == (
        "the training broke the model: clean accuracy fell from 98.0 % to 10.0 % in epoch 1, and with a learning rate "
        "of 0.001 instead of 0.01 to 12.0 %; try a smaller --epsilon, --gamma or --lad-step"
    )
