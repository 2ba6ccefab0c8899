"""A training that is cut goes on to the same bits; one that cannot go on stops, and what was good is kept."""

from __future__ import annotations

import errno
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lsa_audit.errors import DataError, ModelError, OutputError, ProfileError, UsageError
from lsa_audit.hardening.training.batches import split
from lsa_audit.hardening.training.checkpoint import load
from lsa_audit.hardening.training.loop import CHECKPOINT_NAME, LOG_NAME, train
from lsa_audit.progress import Silent
from lsa_audit.settings.recipe import make_recipe

from . import trainings
from .trainings import CUT, CUTS, Constant, Doctor, Failing, dataset, network, same, setup, untimed, weights

pytestmark = pytest.mark.timeout(900)

PGD = {"at": "pgd", "steps": 2}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "name", "moment"), [(which, *pair) for which, pairs in CUTS.items() for pair in pairs]
)
def test_a_killed_training_goes_on_to_the_same_bits(which, name, moment, cut, tmp_path):
    settings, gammas = CUT[name]
    settings = {**settings, "save_every": moment and 1}
    whole = setup(settings, gammas)
    expected = train(whole, Silent(), tmp_path)
    folder = trainings.killed(cut(which), name, moment)
    stopped = load(folder / CHECKPOINT_NAME)
    assert stopped["step"] == (trainings.STEPS if moment is None else moment - 1)
    resumed = setup(settings, gammas)
    log = train(resumed, Silent(), folder, resume=True)
    assert untimed(log) == untimed(expected)
    assert (log.resumed, expected.resumed) == (1, 0)
    assert same(weights(resumed), weights(whole))
    ends = [load(place / CHECKPOINT_NAME) for place in (tmp_path, folder)]
    assert ends[0]["step"] == ends[1]["step"] == trainings.EPOCHS * trainings.STEPS
    assert same(ends[0]["model"], ends[1]["model"])
    assert not same(ends[0]["model"], stopped["model"])
    assert len((folder / LOG_NAME).read_text().splitlines()) == trainings.EPOCHS


def test_a_training_that_broke_off_goes_on_to_the_same_bits(tmp_path):
    settings, gammas = {**PGD, "save_every": 1, "reg": "atlr", "ema": 0.9}, {"conv1": 0.1}
    whole = setup(settings, gammas)
    expected = train(whole, Silent())
    with pytest.raises(RuntimeError, match="stop"):
        train(setup(settings, gammas), Failing(6), tmp_path)
    resumed = setup(settings, gammas)
    log = train(resumed, Silent(), tmp_path, resume=True)
    assert (log.resumed, expected.resumed) == (1, 0)
    assert untimed(log) == untimed(expected)
    assert same(weights(resumed), weights(whole))


def test_a_finished_training_is_only_put_back(tmp_path):
    first = setup(PGD)
    log = train(first, Silent(), tmp_path)
    again = setup(PGD)
    other = train(again, Failing(1), tmp_path, resume=True)
    assert untimed(other) == untimed(log)
    assert same(weights(again), weights(first))


@pytest.mark.slow_except("settings1-own1-training is another")
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
    log = train(setup(PGD), Silent(), tmp_path)
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
    stopped(
        made,
        doctor,
        tmp_path,
        "nan",
        "step 6 (epoch 2)",
        str(tmp_path / CHECKPOINT_NAME),
        "lower the learning rate 0.02, e.g. --lr 0.01",
    )
    content = load(tmp_path / CHECKPOINT_NAME)
    assert content["step"] == trainings.STEPS
    assert all(value.isfinite().all() for value in content["model"].values())
    again = setup(PGD)
    assert train(again, Silent(), tmp_path, resume=True).ending == "finished"


def test_a_learning_rate_beyond_all_bounds_stops_it(tmp_path):
    made = setup({**PGD, "lr": 1e25, "bn": "frozen"})
    before = weights(made)
    stopped(made, Silent(), tmp_path, "step 2 (epoch 1)", str(tmp_path / CHECKPOINT_NAME))
    content = load(tmp_path / CHECKPOINT_NAME)
    assert content["step"] == 0
    assert same(content["model"], before)


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
