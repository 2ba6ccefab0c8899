"""Checkpoints of a training: whole, without code, and only for the training that they are of."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from lsa_audit.errors import OutputError, UnsafeError, UsageError
from lsa_audit.hardening.training.checkpoint import capture_rng, check, load, restore_rng, save
from lsa_audit.settings.recipe import Recipe

RECIPE = Recipe(augment=("flip",), gamma={"conv": 0.1})
FINGERPRINT = {"model": "a1", "data": "b2"}


def content(optimizer="adamw"):
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    kinds = {"adamw": torch.optim.AdamW, "sgd": lambda of: torch.optim.SGD(of, lr=0.1, momentum=0.9)}
    chosen = kinds[optimizer](network.parameters())
    network(torch.rand(5, 4)).sum().backward()
    chosen.step()
    return {
        "recipe": RECIPE.model_dump(mode="json"),
        "fingerprint": FINGERPRINT,
        "step": 7,
        "model": network.state_dict(),
        "optimizer": chosen.state_dict(),
        "ema": None,
        "best": {name: value.clone() for name, value in network.state_dict().items()},
        "rng": capture_rng(),
        "log": [{"epoch": 1, "loss": 0.1 + 0.2, "kept": True, "penalty": None}],
        "sums": {"steps": 2},
    }


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_everything_comes_back_as_it_was(optimizer, tmp_path):
    before = content(optimizer)
    save(tmp_path / "c.pt", before)
    after = load(tmp_path / "c.pt")
    assert after.pop("checkpoint_version") == 1
    assert same(dict(before["model"]), dict(after.pop("model")))
    assert same({name: value for name, value in before.items() if name != "model"}, after)


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    save(tmp_path / "c.pt", content())
    old = (tmp_path / "c.pt").read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"c\.pt: No space left on device; free space"):
        save(tmp_path / "c.pt", {**content(), "step": 8})
    assert (tmp_path / "c.pt").read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.pt"]


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_is_refused_and_does_not_run(write, tmp_path):
    write({"checkpoint_version": 1, **content(), "log": Code(tmp_path / "ran")}, tmp_path / "c.pt")
    with pytest.raises(UnsafeError, match="it calls for code"):
        load(tmp_path / "c.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_file_is_damaged(share, tmp_path):
    save(tmp_path / "c.pt", content())
    whole = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "c.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises((UsageError, UnsafeError)) as caught:
        load(tmp_path / "c.pt")
    assert "c.pt" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(2), "is not a checkpoint of a training"),
        ({"weight": torch.zeros(2)}, "is not a checkpoint of a training"),
        ({"checkpoint_version": 2}, "of version 2, and this is for version 1"),
        ({"checkpoint_version": 1, "recipe": {}, "step": "x"}, "no usable fingerprint, step, model"),
    ],
)
def test_other_files_are_refused(value, message, tmp_path):
    torch.save(value, tmp_path / "c.pt")
    with pytest.raises(UsageError, match=message):
        load(tmp_path / "c.pt")


def test_a_file_of_another_kind_and_no_file(tmp_path):
    (tmp_path / "c.pt").write_text("not weights at all\n")
    with pytest.raises(UsageError, match="is damaged, or not a checkpoint of a training"):
        load(tmp_path / "c.pt")
    with pytest.raises(UsageError, match="there is no checkpoint"):
        load(tmp_path / "d.pt")


def test_only_the_same_training_goes_on(tmp_path):
    save(tmp_path / "c.pt", content())
    stored = load(tmp_path / "c.pt")
    check(stored, RECIPE, dict(FINGERPRINT))
    other = RECIPE.model_copy(update={"lr": 0.5, "augment": ()})
    with pytest.raises(UsageError) as caught:
        check(stored, other, {**FINGERPRINT, "data": "c3"})
    differs = "lr was 0.01 and is 0.5, augment was ['flip'] and is [], data is another"
    assert f"the training cannot be resumed: {differs};" in str(caught.value)


def test_a_setting_that_one_side_does_not_know_differs():
    stored = content()
    with pytest.raises(UsageError, match="new was 1 and is 'unknown'"):
        check({**stored, "recipe": {**stored["recipe"], "new": 1}}, RECIPE, FINGERPRINT)
    del stored["recipe"]["patience"]
    with pytest.raises(UsageError, match="patience was 'unknown' and is None"):
        check(stored, RECIPE, FINGERPRINT)


def test_random_numbers_go_on_where_they_stopped(tmp_path):
    torch.manual_seed(11)
    torch.rand(3)
    save(tmp_path / "c.pt", {**content(), "rng": (state := capture_rng())})
    restore_rng(state)
    expected = torch.rand(4)
    torch.rand(9)
    restore_rng(load(tmp_path / "c.pt")["rng"])
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("state", [{}, {"cpu": 1}, {"cpu": torch.zeros(3, dtype=torch.uint8)}])
def test_a_state_that_is_none(state):
    with pytest.raises(UsageError, match="no usable state of the random numbers"):
        restore_rng(state)
