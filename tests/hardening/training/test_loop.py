"""The loop: what equals the base, what is learnt and kept, and that no trace is left."""

from __future__ import annotations

import random

import numpy
import pytest
import torch

from lsa_audit.hardening.training import loop
from lsa_audit.hardening.training.checkpoint import load
from lsa_audit.hardening.training.loop import CHECKPOINT_NAME, train
from lsa_audit.hardening.training.state import copy_of
from lsa_audit.hardening.training.trial import try_steps
from lsa_audit.progress import Silent

from ...thinning import thin
from . import trainings
from .trainings import Doctor, Failing, dataset, network, run, same, setup, untimed, weights

pytestmark = pytest.mark.timeout(900)

PGD = {"at": "pgd", "steps": 2}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- equal to the base ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base():
    return run({**PGD, "augment": ("flip",)})


@pytest.mark.parametrize(
    ("settings", "gammas"),
    [
        ({"reg": "atlr"}, {"conv1": 0.0, "conv2": 0.0}),
        ({"reg": "lad-lie", "lad_step": 0.0}, {"relu1": 0.0, "relu2": 0.0}),
        ({"reg": "lad-strang", "lad_step": 0.0}, {"relu1": 0.0, "relu2": 0.0}),
    ],
)
def test_a_regulariser_that_weighs_nothing_gives_the_bits_of_the_base(settings, gammas, base):
    trained, left = run({**PGD, "augment": ("flip",), **settings}, gammas)
    assert same(left, base[1])
    assert untimed(trained) == untimed(base[0])


def test_a_regulariser_that_weighs_something_does_not(base):
    for settings, gammas in (({"reg": "atlr"}, {"conv1": 0.3}), ({"reg": "lad-lie"}, {"relu1": 0.0})):
        trained, left = run({**PGD, "augment": ("flip",), **settings}, gammas)
        assert not same(left, base[1])
        assert (trained.epochs[0].penalty is not None) == (settings["reg"] == "atlr")


def test_training_follows_the_seed(base):
    assert not same(run({**PGD, "augment": ("flip",), "seed": 1})[1], base[1])


# --- what is learnt and kept ---------------------------------------------------------------------


def test_a_network_learns_to_withstand_the_attack():
    images = dataset(200)
    made = setup({"at": "fgsm", "epochs": 8, "lr": 0.05}, own=trainings.fresh(norm=True, dropout=0.0), training=images)
    log = train(made, Silent())
    assert log.ending == "finished"
    assert log.robust_before < 0.4
    assert max(epoch.robust for epoch in log.epochs) > 0.7
    assert log.epochs[-1].loss < 0.7 * log.epochs[0].loss


def test_the_kept_epoch_is_the_most_robust_one_and_its_weights_are_left():
    made = setup({**PGD, "epochs": 4, "lr": 0.1, "max_clean_drop": 0.05})
    log = train(made, Silent())
    floor = log.clean_before - 0.05
    best = -1.0
    for epoch in log.epochs:
        assert epoch.kept == (epoch.clean >= floor - 1e-9 and epoch.robust > best)
        best = max(best, epoch.robust) if epoch.kept else best
    assert log.kept_epoch is not None
    kept = log.epochs[log.kept_epoch - 1]
    again = loop.validate(made.model.module, made.validation, made.recipe, made.device, made.ranks)
    assert (again.clean, again.robust) == (kept.clean, kept.robust)
    assert [epoch.step for epoch in log.epochs] == [4, 8, 12, 16][: len(log.epochs)]


def test_no_epoch_above_the_floor_leaves_the_very_bits_of_before():
    made = setup({**PGD, "lr": 2.0, "max_clean_drop": 0.0})
    before = weights(made)
    log = train(made, Silent())
    assert log.kept_epoch is None
    assert not any(epoch.kept for epoch in log.epochs)
    assert same(weights(made), before)


def test_a_learning_rate_that_destroys_the_network_ends_it_as_collapsed():
    made = setup({**PGD, "lr": 50.0, "max_clean_drop": 0.2})
    before = weights(made)
    log = train(made, Silent())
    assert (log.ending, log.kept_epoch, len(log.epochs)) == ("collapsed", None, 2)
    assert "no better than always giving one label" in log.detail
    assert same(weights(made), before)


def test_weights_kept_before_a_collapse_are_put_back(tmp_path):
    made = setup({**PGD, "lr": 1e-4, "bn": "frozen"})
    doctor = Doctor(made, trainings.STEPS + 1, lambda head: head.weight.zero_())
    log = train(made, doctor, tmp_path)
    assert (log.ending, log.kept_epoch, len(log.epochs)) == ("collapsed", 1, 3)
    content = load(tmp_path / CHECKPOINT_NAME)
    assert same(weights(made), content["best"])
    assert not same(weights(made), content["model"])
    torch.testing.assert_close(weights(made), doctor.before, rtol=0, atol=1e-2)


def test_patience_ends_a_training_that_gets_no_better():
    trained, _ = run({**PGD, "lr": 1e-7, "momentum": 0.0, "epochs": 6, "patience": 2, "bn": "frozen"})
    assert trained.ending == "early-stop"
    assert [epoch.kept for epoch in trained.epochs] == [True, False, False]


def test_training_without_attack_keeps_by_clean_accuracy():
    trained, _ = run({"at": "none", "epochs": 2})
    first = trained.epochs[0]
    assert first.kept
    assert first.train_robust > 0.5


def test_averaged_weights_are_what_is_validated_and_left():
    made = setup({**PGD, "ema": 0.99, "epochs": 1, "lr": 0.5})
    log = train(made, Silent())
    plain = run({**PGD, "epochs": 1, "lr": 0.5})
    assert not same(weights(made), plain[1])
    again = loop.validate(made.model.module, made.validation, made.recipe, made.device, made.ranks)
    assert (again.clean, again.robust) == (log.epochs[0].clean, log.epochs[0].robust)


def test_micro_batches_take_the_steps_of_the_whole_batch():
    own = {"own": network(norm=False, dropout=0.0)}
    settings = {**PGD, "augment": ("flip", "crop", "erase")}
    whole, left = run({**settings, "accumulate": 1}, **own)
    parts, other = run({**settings, "accumulate": 4}, own=network(norm=False, dropout=0.0))
    for one, two in zip(whole.epochs, parts.epochs, strict=True):
        assert one.loss == pytest.approx(two.loss, abs=1e-5)
        assert one.train_robust == two.train_robust
    for name, value in left.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-5)


def test_free_counts_every_replay_as_a_step_on_the_same_images():
    trained, _ = run({"at": "free", "steps": 3, "epochs": 1})
    assert trained.epochs[0].step == 4
    assert 0 <= trained.epochs[0].train_robust <= 1


# --- no trace ------------------------------------------------------------------------------------


def state_of_world(made):
    """What of the caller training must leave as it is."""
    return (
        [(name, value.requires_grad) for name, value in made.model.module.named_parameters()],
        [value.grad for value in made.model.module.parameters()],
        [child.training for child in made.model.module.modules()],
        (torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled(), torch.get_num_threads()),
        (torch.backends.cudnn.benchmark, torch.get_default_dtype()),
        random.getstate(),
        numpy.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize(
    ("kind", "fails"), thin([(kind, fails) for kind in ("train", "resume", "trial") for fails in (False, True)])
)
def test_no_trace_is_left(kind, fails, tmp_path):
    settings = {**PGD, "ema": 0.9, "awp": 0.01, "reg": "atlr"}
    made = setup(settings, {"conv1": 0.1})
    if kind == "resume":
        with pytest.raises(RuntimeError):
            train(setup({**settings, "save_every": 1}, {"conv1": 0.1}), Failing(3), tmp_path)
        made = setup({**settings, "save_every": 1}, {"conv1": 0.1})
    parameters = list(made.model.module.parameters())
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.ones_like(parameters[1])
    torch.manual_seed(17)
    before = state_of_world(made)
    progress = Failing(2) if fails else Silent()
    work = {
        "train": lambda: train(made, progress),
        "resume": lambda: train(made, progress, tmp_path, resume=True),
        "trial": lambda: try_steps(made, progress),
    }[kind]
    if fails:
        with pytest.raises(RuntimeError, match="stop"):
            work()
    else:
        work()
    assert state_of_world(made) == before


@pytest.mark.parametrize("fails", [False, True])
def test_a_trial_leaves_the_weights_as_they_were(fails):
    made = setup({**PGD, "lr": 1.0})
    before = weights(made)
    if fails:
        with pytest.raises(RuntimeError, match="stop"):
            try_steps(made, Failing(2))
    else:
        found = try_steps(made, Silent())
        assert found.steps_an_epoch == trainings.STEPS
        assert found.seconds_total > trainings.EPOCHS * trainings.STEPS * found.seconds_a_step
        assert found.memory_bytes > 0
    assert same(weights(made), before)


def test_gradients_are_taken_also_where_the_caller_takes_none(base):
    with torch.no_grad():
        left = run({**PGD, "augment": ("flip",)})[1]
    assert same(left, base[1])


def test_a_state_that_holds_more_than_tensors_is_copied_without_it():
    class Packed(torch.nn.Linear):
        def get_extra_state(self) -> object:
            return torch.qint8

        def set_extra_state(self, state: object) -> None:
            assert state == torch.qint8

    assert set(copy_of(Packed(2, 3))) == {"weight", "bias"}
