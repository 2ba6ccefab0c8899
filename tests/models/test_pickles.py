from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from lsa_audit.models.pickles import foreign_globals


class Runs:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_names_are_listed_and_nothing_runs(tmp_path: Path, zipped: bool) -> None:
    target, path = tmp_path / "side-effect", tmp_path / "x.pt"
    state = {"weight": torch.zeros(2), "x": Runs(target)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    assert foreign_globals(path) == [f"{os.name}.mkdir"]
    assert not target.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_are_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    target, path = tmp_path / "side-effect", tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(Runs(target), protocol=protocol))
    assert foreign_globals(path) == [f"{os.name}.mkdir"]
    assert not target.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_state_dict_holds_nothing_foreign(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict(), path, _use_new_zipfile_serialization=zipped
    )
    assert foreign_globals(path) == []


def test_bytes_that_are_no_pickle_give_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"\x00\xff" * 40)
    assert foreign_globals(path) == []
