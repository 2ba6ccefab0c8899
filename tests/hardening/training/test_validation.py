"""How good a model is after an epoch, and whether training goes on."""

from __future__ import annotations

import pytest
import torch

from lsa_audit.device.ranks import Ranks
from lsa_audit.hardening.training.validation import Score, ending, epoch_line, is_chance, validate
from lsa_audit.records.hardening import Epoch
from lsa_audit.settings.recipe import Recipe

from .trainings import CPU, dataset, setup

LABELS = torch.arange(100) % 4
BEFORE = Score(0.9, 0.1)


def epoch(number, **changes):
    fields = {
        "epoch": number,
        "step": 10 * number,
        "lr": 0.1,
        "epsilon": 0.1,
        "loss": 1.25,
        "penalty": None,
        "train_robust": 0.5,
        "clean": 0.9,
        "robust": 0.4,
        "kept": True,
        "duration_s": 2.0,
        "images_per_s": 321.4,
    }
    return Epoch(**{**fields, **changes})


def ends(*epochs, before=BEFORE, **settings):
    found = ending(epochs, before, LABELS, Recipe(**{"at": "fgsm", "epochs": 10, **settings}))
    return found and found[0]


def test_it_goes_on_and_finishes():
    assert ends(epoch(1)) is None
    assert ends(*map(epoch, range(1, 11))) == "finished"


@pytest.mark.parametrize(
    ("train", "robust", "earlier", "expected"),
    [
        (0.75, 0.20, 0.1, "catastrophic-overfitting"),  # more than half lies between them
        (0.55, 0.19, 0.4, "catastrophic-overfitting"),  # more than 0.3, and less than half of the best
        (0.55, 0.21, 0.4, None),  # more than half of the best is left
        (0.48, 0.19, 0.4, None),  # the gap is small
    ],
)
@pytest.mark.parametrize("at", ["fgsm", "free"])
def test_catastrophic_overfitting_of_single_steps(at, train, robust, earlier, expected):
    seen = (epoch(1, robust=earlier), epoch(2, train_robust=train, robust=robust))
    assert ends(*seen, at=at) == expected
    assert ends(*seen, at="pgd") is None


def test_a_lost_epoch_says_what_was_seen():
    found = ending([epoch(1, train_robust=0.9, robust=0.0)], BEFORE, LABELS, Recipe(at="fgsm", validation_steps=7))
    assert found is not None
    for part in ("epoch 1", "90.0%", "0.0%", "fgsm", "PGD-7"):
        assert part in found[1]


def test_chance_is_the_commonest_label_within_three_deviations():
    # 25 of 100, and 3 * sqrt(.25 * .75 / 100) = 0.13 above.
    assert is_chance(0.37, LABELS)
    assert not is_chance(0.39, LABELS)
    assert is_chance(0.1, LABELS)
    skewed = torch.tensor([0] * 80 + [1] * 20)
    assert is_chance(0.9, skewed)
    assert not is_chance(0.95, skewed)


def test_what_was_learnt_and_lost_collapsed_and_what_never_was_gets_half_of_the_time():
    lost, again = (epoch(number, clean=0.3, robust=0.2) for number in (1, 2))
    assert ends(lost) is None
    assert ends(lost, again) == "collapsed"
    assert ends(lost, epoch(2, clean=0.8)) is None
    assert ends(lost, again, before=Score(0.25, 0.0)) is None
    never = [epoch(number, clean=0.3, robust=0.2) for number in range(1, 6)]
    assert ends(*never[:4], before=Score(0.25, 0.0)) is None
    assert ends(*never, before=Score(0.25, 0.0)) == "collapsed"
    late = [epoch(number, clean=0.3, robust=0.2) for number in (3, 4)]
    assert ends(epoch(1, clean=0.3), epoch(2, clean=0.8), *late, before=Score(0.25, 0.0)) == "collapsed"
    assert ends(epoch(1, clean=0.8), epoch(10, clean=0.3)) == "collapsed"


def test_patience():
    worse = [epoch(number, kept=False) for number in (2, 3)]
    assert ends(epoch(1), worse[0], patience=2) is None
    assert ends(epoch(1), *worse, patience=2) == "early-stop"
    assert ends(epoch(1), worse[0], epoch(3), patience=2) is None
    assert ends(epoch(1), *worse) is None
    # All epochs are done: nothing was stopped early.
    assert ends(epoch(1), *worse, patience=2, epochs=3) == "finished"


def test_the_line_of_an_epoch():
    assert epoch_line(epoch(2), 10) == "epoch 2 of 10: loss 1.250, clean 90.0 %, PGD 40.0 %, kept (321 images/s)"
    assert ", kept" not in epoch_line(epoch(2, kept=False), 10)


def test_the_score_counts_right_images_and_an_attack_only_takes_away():
    made = setup({"at": "pgd"})
    images = dataset(130, seed=3)
    score = validate(made.model.module, images, made.recipe, CPU, Ranks())
    with torch.no_grad():
        right = made.model.module(images.images(0, 130)).argmax(1) == images.labels
    assert score.clean == pytest.approx(float(right.float().mean()))
    assert 0 < score.robust < score.clean
    wider = validate(made.model.module, images, Recipe(epsilon=0.3, validation_steps=5), CPU, Ranks())
    assert wider.robust < score.robust
    none = validate(made.model.module, images, Recipe(at="none", epsilon=0.0), CPU, Ranks())
    assert none.robust == none.clean == score.clean
    assert validate(made.model.module, images, made.recipe, CPU, Ranks()) == score
