"""The loop: what equals the base, what is kept, how it goes on after a kill, how it stops; no trace is left."""

from __future__ import annotations

import errno
import functools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

from lsa_audit.errors import DataError, ModelError, OutputError, ProfileError, UsageError
from lsa_audit.harden.recipe import make_recipe
from lsa_audit.harden.training import loop
from lsa_audit.harden.training.batches import split
from lsa_audit.harden.training.checkpoint import load
from lsa_audit.harden.training.loop import CHECKPOINT_NAME, LOG_NAME, train
from lsa_audit.harden.training.trial import try_steps
from lsa_audit.progress import Silent

from . import trainings
from .trainings import CUT, CUTS, Constant, dataset, network, run, setup, weights

pytestmark = pytest.mark.timeout(900)

PGD = {"at": "pgd", "steps": 2}
UNTIMED = {"epochs": {"__all__": {"duration_s", "images_per_s"}}, "resumed": True}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def untimed(log):
    return log.model_dump(exclude=UNTIMED)


class Failing(Silent):
    """Fails at a step."""

    def __init__(self, step, what):
        self.left, self.what = step, what

    def advance(self, units):
        self.left -= units
        if self.left == 0:
            self.what()


def raising():
    raise RuntimeError("stop")


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
    assert untimed(trained.log) == untimed(base[0].log)


def test_a_regulariser_that_weighs_something_does_not(base):
    for settings, gammas in (({"reg": "atlr"}, {"conv1": 0.3}), ({"reg": "lad-lie"}, {"relu1": 0.0})):
        trained, left = run({**PGD, "augment": ("flip",), **settings}, gammas)
        assert not same(left, base[1])
        assert (trained.log.epochs[0].penalty is not None) == (settings["reg"] == "atlr")


def test_training_follows_the_seed(base):
    assert not same(run({**PGD, "augment": ("flip",), "seed": 1})[1], base[1])


# --- what is learnt and kept ---------------------------------------------------------------------


def test_a_network_learns_to_withstand_the_attack():
    images = dataset(200)
    made = setup({"at": "fgsm", "epochs": 8, "lr": 0.05}, own=trainings.fresh(norm=True, dropout=0.0), training=images)
    log = train(made, Silent()).log
    assert log.ending == "finished"
    assert log.robust_before < 0.4
    assert max(epoch.robust for epoch in log.epochs) > 0.7
    assert log.epochs[-1].loss < 0.7 * log.epochs[0].loss


def test_the_kept_epoch_is_the_most_robust_one_and_its_weights_are_left():
    made = setup({**PGD, "epochs": 4, "lr": 0.1, "max_clean_drop": 0.05})
    log = train(made, Silent()).log
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
    log = train(made, Silent()).log
    assert log.kept_epoch is None
    assert not any(epoch.kept for epoch in log.epochs)
    assert same(weights(made), before)


class Doctor(Silent):
    """Changes the network after a step, and keeps a copy of the weights before."""

    def __init__(self, made, step, change):
        self.made, self.left, self.change = made, step, change

    def advance(self, units):
        self.left -= units
        if self.left == 0:
            self.before = weights(self.made)
            with torch.no_grad():
                self.change(self.made.model.module.network.head)


def test_a_learning_rate_that_destroys_the_network_ends_it_as_collapsed():
    made = setup({**PGD, "lr": 50.0, "max_clean_drop": 0.2})
    before = weights(made)
    log = train(made, Silent()).log
    assert (log.ending, log.kept_epoch, len(log.epochs)) == ("collapsed", None, 2)
    assert "no better than always giving one label" in log.detail
    assert same(weights(made), before)


def test_weights_kept_before_a_collapse_are_put_back(tmp_path):
    made = setup({**PGD, "lr": 1e-4, "bn": "frozen"})
    doctor = Doctor(made, trainings.STEPS + 1, lambda head: head.weight.zero_())
    log = train(made, doctor, tmp_path).log
    assert (log.ending, log.kept_epoch, len(log.epochs)) == ("collapsed", 1, 3)
    content = load(tmp_path / CHECKPOINT_NAME)
    assert same(weights(made), content["best"])
    assert not same(weights(made), content["model"])
    torch.testing.assert_close(weights(made), doctor.before, rtol=0, atol=1e-2)


def test_patience_ends_a_training_that_gets_no_better():
    trained, _ = run({**PGD, "lr": 1e-7, "momentum": 0.0, "epochs": 6, "patience": 2, "bn": "frozen"})
    assert trained.log.ending == "early-stop"
    assert [epoch.kept for epoch in trained.log.epochs] == [True, False, False]


def test_training_without_attack_keeps_by_clean_accuracy():
    trained, _ = run({"at": "none", "epochs": 2})
    first = trained.log.epochs[0]
    assert first.kept
    assert first.train_robust > 0.5


def test_averaged_weights_are_what_is_validated_and_left():
    made = setup({**PGD, "ema": 0.99, "epochs": 1, "lr": 0.5})
    log = train(made, Silent()).log
    plain = run({**PGD, "epochs": 1, "lr": 0.5})
    assert not same(weights(made), plain[1])
    again = loop.validate(made.model.module, made.validation, made.recipe, made.device, made.ranks)
    assert (again.clean, again.robust) == (log.epochs[0].clean, log.epochs[0].robust)


def test_micro_batches_take_the_steps_of_the_whole_batch():
    own = {"own": network(norm=False, dropout=0.0)}
    settings = {**PGD, "augment": ("flip", "crop", "erase")}
    whole, left = run({**settings, "accumulate": 1}, **own)
    parts, other = run({**settings, "accumulate": 4}, own=network(norm=False, dropout=0.0))
    for one, two in zip(whole.log.epochs, parts.log.epochs, strict=True):
        assert one.loss == pytest.approx(two.loss, abs=1e-5)
        assert one.train_robust == two.train_robust
    for name, value in left.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-5)


def test_free_counts_every_replay_as_a_step_on_the_same_images():
    trained, _ = run({"at": "free", "steps": 3, "epochs": 1})
    assert trained.log.epochs[0].step == 4
    assert 0 <= trained.log.epochs[0].train_robust <= 1


# --- cut and gone on with ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A function from `few` or `many` to the folder with these trainings, whose processes were killed."""

    @functools.cache
    def made(which):
        folder = tmp_path_factory.mktemp(which)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, trainings.__file__, which, str(folder)]
        subprocess.run(command, check=True, timeout=800, env=environment, cwd=Path(__file__).parents[3])
        return folder

    return made


@pytest.mark.parametrize(
    ("which", "name", "moment"),
    [
        pytest.param(which, *pair, marks=() if which == "few" else pytest.mark.slow)
        for which, pairs in CUTS.items()
        for pair in pairs
    ],
)
def test_a_killed_training_goes_on_to_the_same_bits(which, name, moment, cut, tmp_path):
    settings, gammas = CUT[name]
    settings = {**settings, "save_every": moment and 1}
    whole = setup(settings, gammas)
    expected = train(whole, Silent(), tmp_path).log
    folder = trainings.killed(cut(which), name, moment)
    stopped = load(folder / CHECKPOINT_NAME)
    assert stopped["step"] == (trainings.STEPS if moment is None else moment - 1)
    resumed = setup(settings, gammas)
    log = train(resumed, Silent(), folder, resume=True).log
    assert untimed(log) == untimed(expected)
    assert (log.resumed, expected.resumed) == (1, 0)
    assert same(weights(resumed), weights(whole))
    ends = [load(place / CHECKPOINT_NAME) for place in (tmp_path, folder)]
    assert ends[0]["step"] == ends[1]["step"] == trainings.EPOCHS * trainings.STEPS
    assert same(ends[0]["model"], ends[1]["model"])
    assert not same(ends[0]["model"], stopped["model"])
    assert len((folder / LOG_NAME).read_text().splitlines()) == trainings.EPOCHS


def test_a_finished_training_is_only_put_back(tmp_path):
    first = setup(PGD)
    log = train(first, Silent(), tmp_path).log
    again = setup(PGD)
    other = train(again, Failing(1, raising), tmp_path, resume=True).log
    assert untimed(other) == untimed(log)
    assert same(weights(again), weights(first))


@pytest.mark.parametrize(
    ("settings", "own", "named"),
    [
        ({"lr": 0.5, "epochs": 4}, {}, r"epochs was 3 and is 4, lr was 0\.02 and is 0\.5"),
        ({}, {"training": dataset(64, seed=9)}, "training is another"),
        ({}, {"own": network(dropout=0.2)[:-1].append(nn.Linear(96, 3))}, "weights is another"),
    ],
)
def test_another_training_is_refused_with_what_differs(settings, own, named, tmp_path):
    train(setup({**PGD, "epochs": 3}), Silent(), tmp_path)
    before = (tmp_path / CHECKPOINT_NAME).read_bytes()
    with pytest.raises(UsageError, match=named):
        train(setup({**PGD, **settings}, **own), Silent(), tmp_path, resume=True)
    assert (tmp_path / CHECKPOINT_NAME).read_bytes() == before


def test_there_must_be_something_to_go_on_with(tmp_path):
    with pytest.raises(UsageError, match="there is no checkpoint"):
        train(setup(PGD), Silent(), tmp_path, resume=True)


def test_the_log_has_a_line_an_epoch(tmp_path):
    log = train(setup(PGD), Silent(), tmp_path).log
    lines = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert lines == [epoch.model_dump(mode="json") for epoch in log.epochs]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [CHECKPOINT_NAME, LOG_NAME]


# --- what goes wrong -----------------------------------------------------------------------------


def stopped(made, progress, folder, *parts):
    """Assert that it stops with one line that says these."""
    with pytest.raises(ModelError) as caught:
        train(made, progress, folder)
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text
    return text


def test_a_loss_that_is_not_finite_stops_it_and_keeps_the_last_good_checkpoint(tmp_path):
    made = setup(PGD)
    doctor = Doctor(made, 5, lambda head: head.bias.fill_(float("nan")))
    stopped(made, doctor, tmp_path, "nan", "step 6 (epoch 2)", str(tmp_path / CHECKPOINT_NAME), "lower --lr")
    content = load(tmp_path / CHECKPOINT_NAME)
    assert content["step"] == trainings.STEPS
    assert all(value.isfinite().all() for value in content["model"].values())
    again = setup(PGD)
    assert train(again, Silent(), tmp_path, resume=True).log.ending == "finished"


def test_a_learning_rate_beyond_all_bounds_stops_it(tmp_path):
    text = stopped(setup({**PGD, "lr": 1e25, "bn": "frozen"}), Silent(), tmp_path, "step 2 (epoch 1)")
    assert CHECKPOINT_NAME not in text
    assert list(tmp_path.iterdir()) == []


class Root(nn.Module):
    """Its weight has no finite gradient, where the value is finite."""

    def __init__(self):
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, values):
        return values + self.offset.abs().sqrt()


def test_a_gradient_that_is_not_finite_reaches_no_weight(tmp_path):
    own = network(norm=False, dropout=0.0)
    own.flat = nn.Sequential(Root(), nn.Flatten())
    made = setup({**PGD, "save_every": 1}, own=own)
    before = weights(made)
    stopped(made, Silent(), tmp_path, "gradient", "step 1 (epoch 1)")
    assert same(weights(made), before)


def test_a_full_disk_is_said_and_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    kept = []

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill():
        kept.append((tmp_path / CHECKPOINT_NAME).read_bytes())
        monkeypatch.setattr("os.fsync", full)

    made = setup({**PGD, "save_every": 1})
    with pytest.raises(OutputError, match=r"checkpoint\.pt: No space left on device; free space"):
        train(made, Failing(6, fill), tmp_path)
    monkeypatch.undo()
    assert (tmp_path / CHECKPOINT_NAME).read_bytes() == kept[0]
    assert load(tmp_path / CHECKPOINT_NAME)["step"] == 5
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [CHECKPOINT_NAME, LOG_NAME]


def test_without_a_trainable_parameter_it_is_refused_in_one_line():
    with pytest.raises(ModelError, match="has no trainable parameters") as caught:
        train(setup(PGD, own=Constant()), Silent())
    assert "\n" not in str(caught.value)


def test_too_few_images_cannot_be_split():
    with pytest.raises(DataError, match="too few images"):
        split(dataset(19), None, 0)


def test_an_attack_without_epsilon_is_no_recipe():
    with pytest.raises(ProfileError, match="epsilon 0 leaves pgd nothing to train against"):
        make_recipe({"command line": {"at": "pgd", "epsilon": "0"}})


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


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("kind", ["train", "resume", "trial"])
def test_no_trace_is_left(kind, fails, tmp_path):
    settings = {**PGD, "ema": 0.9, "awp": 0.01, "reg": "atlr"}
    made = setup(settings, {"conv1": 0.1})
    if kind == "resume":
        with pytest.raises(RuntimeError):
            train(setup({**settings, "save_every": 1}, {"conv1": 0.1}), Failing(3, raising), tmp_path)
        made = setup({**settings, "save_every": 1}, {"conv1": 0.1})
    parameters = list(made.model.module.parameters())
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.ones_like(parameters[1])
    torch.manual_seed(17)
    before = state_of_world(made)
    progress = Failing(2, raising) if fails else Silent()
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
            try_steps(made, Failing(2, raising))
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
